// A backend dies while one client has meetings on it and on others.
//
// The test first stops the backend, so that calls are certain to wait on it, then kills it.
'use strict';

const { OFFER, assert, call, connect, errorOf, report, run, told } = require('./harness');

const MEETINGS = 9;
const CALLS_EACH = 3;

run(async (url) => {
  const client = await connect(url);
  const meetings = new Map();
  for (let index = 0; index < MEETINGS; index += 1) {
    const pipeline = await call(client, 'create', 'MediaPipeline', { meeting: `meeting-${index}` });
    const endpoint = await call(pipeline, 'create', 'WebRtcEndpoint');
    meetings.set(`meeting-${index}`, { pipeline, endpoint });
  }
  report('open', { meetings: [...meetings.keys()] });

  const stopped = await told();
  const lost = stopped.map((name) => meetings.get(name));
  const others = [...meetings].filter(([name]) => !stopped.includes(name)).map(([, one]) => one);
  const waiting = lost.flatMap(({ endpoint }) =>
    Array.from({ length: CALLS_EACH }, () => errorOf(endpoint, 'getName')));
  // Frames keep their order, so once these are answered, the others are with the dead backend.
  await works(others);
  report('waiting', { calls: waiting.length });

  const failures = await Promise.all(waiting);
  failures.forEach((error) => assert.ok(Number.isInteger(error.code), `${error} has a code`));
  for (const { pipeline, endpoint } of lost) {
    assert.equal((await errorOf(pipeline, 'getName')).code, 40101);
    assert.equal((await errorOf(endpoint, 'processOffer', OFFER)).code, 40101);
  }
  await works(others);

  const again = stopped.concat(['new-1', 'new-2', 'new-3']);
  const pipelines = await Promise.all(again.map((name) =>
    call(client, 'create', 'MediaPipeline', { meeting: name })));
  const endpoints = await Promise.all(pipelines.map((pipeline) =>
    call(pipeline, 'create', 'WebRtcEndpoint')));
  await works(endpoints.map((endpoint) => ({ endpoint })));
  report('moved', { meetings: again, codes: failures.map((error) => error.code) });
  await told();
  await works(others);
  client.close();
});

/** Every one of these endpoints answers. */
async function works(meetings) {
  const names = await Promise.all(meetings.map(({ endpoint }) => call(endpoint, 'getName')));
  names.forEach((name, index) => assert.ok(name.includes(meetings[index].endpoint.id)));
}
