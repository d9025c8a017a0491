// The edge is killed under a connected client and started again: the library reconnects by itself, and
// everything that the client had is there.
'use strict';

const { OFFER, assert, call, connectForGood, once, report, run, told } = require('./harness');

run(async (url) => {
  const client = await connectForGood(url);
  const pipeline = await call(client, 'create', 'MediaPipeline', { meeting: 'standup' });
  const [from, to] = [
    await call(pipeline, 'create', 'PassThrough'),
    await call(pipeline, 'create', 'PassThrough'),
  ];
  // One subscription for all that follows.
  let take;
  from.on('ElementConnected', (event) => take(event));
  const connects = async () => {
    const event = new Promise((resolve) => { take = resolve; });
    await call(from, 'connect', to);
    assert.equal((await event).sink, to.id);
    await call(from, 'disconnect', to);
  };
  await connects();
  const before = await client.sessionId;
  report('open', { pipeline: pipeline.id });

  const reconnected = once(client, 'reconnected');
  await told();
  assert.equal(await reconnected, true, 'in the same session');
  assert.equal(await client.sessionId, before);
  assert.ok((await call(pipeline, 'getName')).includes(pipeline.id));
  await connects();
  const endpoint = await call(pipeline, 'create', 'WebRtcEndpoint');
  assert.match(await call(endpoint, 'processOffer', OFFER), /^v=0/);
  const other = await call(client, 'create', 'MediaPipeline', { meeting: 'standup' });
  report('again', { pipelines: [pipeline.id, other.id] });

  await told();
  await call(pipeline, 'release');
  await call(other, 'release');
  client.close();
});
