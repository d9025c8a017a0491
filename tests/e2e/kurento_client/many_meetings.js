// One client holds twenty meetings at once.
'use strict';

const { OFFER, assert, call, connect, report, run, told } = require('./harness');

const MEETINGS = 20;

run(async (url) => {
  const client = await connect(url);
  const names = Array.from({ length: MEETINGS }, (_, index) => `meeting-${index}`);
  const pipelines = await Promise.all(names.map((name) => open(client, name)));
  assert.equal(new Set(pipelines.map((pipeline) => pipeline.id)).size, MEETINGS);
  const meetings = names.map((name, index) => ({ name, pipeline: pipelines[index].id }));
  report('open', { meetings });
  await told();
  const tags = await Promise.all(pipelines.map((pipeline) => call(pipeline, 'getTag', 'meeting')));
  assert.deepEqual(tags, names, 'each answer came from its own meeting');
  await Promise.all(pipelines.map((pipeline) => call(pipeline, 'release')));
  report('released');
  await told();
  client.close();
});

/** Opens one meeting with two people who hear each other. */
async function open(client, name) {
  const pipeline = await call(client, 'create', 'MediaPipeline', { meeting: name });
  await call(pipeline, 'addTag', 'meeting', name);
  const ana = await call(pipeline, 'create', 'WebRtcEndpoint');
  const ben = await call(pipeline, 'create', 'WebRtcEndpoint');
  assert.match(await call(ana, 'processOffer', OFFER), /^v=0/);
  await Promise.all([call(ana, 'connect', ben), call(ben, 'connect', ana)]);
  return pipeline;
}
