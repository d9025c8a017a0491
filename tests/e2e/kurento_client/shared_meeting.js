// Three clients in one meeting: two create a pipeline each by its name, one knows only an object id.
'use strict';

const { OFFER, assert, call, connect, report, run, told } = require('./harness');

run(async (url) => {
  const [ana, ben, cleo] = await Promise.all([connect(url), connect(url), connect(url)]);
  const [hers, his] = await Promise.all([
    call(ana, 'create', 'MediaPipeline', { meeting: 'standup' }),
    call(ben, 'create', 'MediaPipeline', { meeting: 'standup' }),
  ]);
  assert.notEqual(hers.id, his.id);
  const source = await call(hers, 'create', 'WebRtcEndpoint');

  const found = await call(cleo, 'getMediaobjectById', hers.id);
  assert.equal(found.id, hers.id);
  const sink = await call(found, 'create', 'WebRtcEndpoint');
  const shared = await call(cleo, 'getMediaobjectById', source.id);
  await call(shared, 'connect', sink);
  assert.match(await call(sink, 'processOffer', OFFER), /^v=0/);
  assert.ok((await call(his, 'create', 'WebRtcEndpoint')).id.startsWith(his.id));

  report('together', { pipelines: [hers.id, his.id], endpoints: [source.id, sink.id] });
  await told();
  await call(hers, 'release');
  await call(his, 'release');
  [ana, ben, cleo].forEach((client) => client.close());
});
