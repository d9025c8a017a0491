// One client holds twenty meetings at once.
'use strict';

const { OFFER, assert, connect, report, run, told } = require('./harness');

const MEETINGS = 20;

run(async (url) => {
  const client = await connect(url);
  const names = Array.from({ length: MEETINGS }, (_, index) => `meeting-${index}`);
  const pipelines = await Promise.all(names.map((name) => open(client, name)));
  assert.equal(new Set(pipelines.map((pipeline) => pipeline.id)).size, MEETINGS);
  const meetings = names.map((name, index) => ({ name, pipeline: pipelines[index].id }));
  report('open', { meetings });
  await told();
  const tags = await Promise.all(pipelines.map((pipeline) => pipeline.getTag('meeting')));
  assert.deepEqual(tags, names, 'each answer came from its own meeting');
  await Promise.all(pipelines.map((pipeline) => pipeline.release()));
  report('released');
  await told();
  client.close();
});

/** Opens one meeting with two people who hear each other. */
async function open(client, name) {
  const pipeline = await client.create('MediaPipeline', { meeting: name });
  await pipeline.addTag('meeting', name);
  const ana = await pipeline.create('WebRtcEndpoint');
  const ben = await pipeline.create('WebRtcEndpoint');
  assert.match(await ana.processOffer(OFFER), /^v=0/);
  await Promise.all([ana.connect(ben), ben.connect(ana)]);
  return pipeline;
}
