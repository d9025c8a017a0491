// Three clients in one meeting: two create a pipeline each by its name, one knows only an object id.
'use strict';

const { OFFER, assert, connect, report, run, told } = require('./harness');

run(async (url) => {
  const [ana, ben, cleo] = await Promise.all([connect(url), connect(url), connect(url)]);
  const [hers, his] = await Promise.all([
    ana.create('MediaPipeline', { meeting: 'standup' }),
    ben.create('MediaPipeline', { meeting: 'standup' }),
  ]);
  assert.notEqual(hers.id, his.id);
  const source = await hers.create('WebRtcEndpoint');

  const found = await cleo.getMediaobjectById(hers.id);
  assert.equal(found.id, hers.id);
  const sink = await found.create('WebRtcEndpoint');
  const shared = await cleo.getMediaobjectById(source.id);
  await shared.connect(sink);
  assert.match(await sink.processOffer(OFFER), /^v=0/);
  assert.ok((await his.create('WebRtcEndpoint')).id.startsWith(his.id));

  report('together', { pipelines: [hers.id, his.id], endpoints: [source.id, sink.id] });
  await told();
  await hers.release();
  await his.release();
  [ana, ben, cleo].forEach((client) => client.close());
});
