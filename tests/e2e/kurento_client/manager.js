// One client asks the server manager about "the server", which is a fleet.
'use strict';

const { assert, call, connect, errorOf, report, run, told } = require('./harness');

const MEETING_COUNT = 8;

run(async (url) => {
  const client = await connect(url);
  const server = await call(client, 'getServerManager');
  const created = listen(server, 'ObjectCreated', 'object');
  const destroyed = listen(server, 'ObjectDestroyed', 'objectId');
  // The library does not tell when it is subscribed; this is sent, and so answered, after that.
  assert.equal(await call(server, 'getName'), 'manager_ServerManager');

  const pipelines = [];
  for (let n = 0; n < MEETING_COUNT; n += 1) {
    pipelines.push(await call(client, 'create', 'MediaPipeline', { meeting: `room-${n}` }));
  }
  const ids = pipelines.map((pipeline) => pipeline.id).sort();
  await created.all(ids);

  const info = await call(server, 'getInfo');
  assert.deepEqual(info.modules.map((one) => one.name).sort(), ['core', 'elements', 'filters']);
  const listed = await call(server, 'getPipelines');
  assert.deepEqual(listed.map((pipeline) => pipeline.id).sort(), ids);
  const sessions = await call(server, 'getSessions');
  assert.ok(sessions.length > 0 && !sessions.includes(''), JSON.stringify(sessions));
  const kmd = JSON.parse(await call(server, 'getKmd', 'core'));
  assert.equal(kmd.name, 'core');
  assert.equal((await errorOf(server, 'getKmd', 'nosuchmodule')).code, 40500);
  assert.equal((await errorOf(server, 'getTag', 'nope')).code, 40110);
  await call(server, 'addTag', 'owner', 'ops');
  assert.equal(await call(server, 'getTag', 'owner'), 'ops');
  const usage = {
    cpuCount: await call(server, 'getCpuCount'),
    usedCpu: await call(server, 'getUsedCpu', 500),
    usedMemory: await call(server, 'getUsedMemory'),
  };
  report('asked', { pipelines: ids, usage });

  await told();
  for (const pipeline of pipelines) {
    await call(pipeline, 'release');
  }
  await destroyed.all(ids);
  assert.deepEqual(created.objects.sort(), ids, 'each once, and nothing else');
  assert.deepEqual(destroyed.objects.sort(), ids, 'each once, and nothing else');
  client.close();
});

/** Subscribes to an event of the manager whose `member` names an object, and collects these. */
function listen(server, event, member) {
  const objects = [];
  let look = () => {};
  server.on(event, (data) => {
    objects.push(data[member]);
    look();
  });
  const all = (ids) => new Promise((resolve) => {
    look = () => {
      if (ids.every((id) => objects.includes(id))) resolve();
    };
    look();
  });
  return { objects, all };
}
