// One client uses all of the protocol that applications use.
'use strict';

const { OFFER, assert, call, connect, errorOf, once, run } = require('./harness');

run(async (url) => {
  const client = await connect(url);
  await manager(client);
  await media(client);
  await namesAndTags(client);
  await transactionOnPipeline(client);
  await transactionThatCreatesThePipeline(client);
  await transactionAsFirstCall(url);
  await errors(client);
  client.close();
});

/** What the server says of itself. */
async function manager(client) {
  const server = await call(client, 'getServerManager');
  const info = await call(server, 'getInfo');
  assert.equal(info.type, 'KMS');
  const modules = info.modules.map((module) => module.name);
  assert.deepEqual([...modules].sort(), ['core', 'elements', 'filters']);
}

/** Two endpoints that negotiate with each other and are connected both ways. */
async function media(client) {
  const properties = { meeting: 'media', participants: 2 };
  const pipeline = await call(client, 'create', 'MediaPipeline', properties);
  const [ana, ben] = await Promise.all([
    call(pipeline, 'create', 'WebRtcEndpoint'),
    call(pipeline, 'create', 'WebRtcEndpoint'),
  ]);
  assert.ok(ana.id.startsWith(`${pipeline.id}/`) && ana.id !== ben.id);
  const candidates = candidatesOf(ana);
  const gathered = once(ana, 'IceGatheringDone');

  const offer = await call(ana, 'generateOffer');
  assert.match(offer, /^v=0/);
  const answer = await call(ben, 'processOffer', offer);
  assert.match(answer, /m=video/);
  await call(ana, 'processAnswer', answer);
  await call(ana, 'gatherCandidates');
  await gathered;
  const found = await candidates.first;
  assert.match(found.candidate, /^candidate:/);
  await call(ben, 'addIceCandidate', found);

  await call(ana, 'connect', ben);
  await call(ben, 'connect', ana);
  const sinks = await call(ana, 'getSinkConnections');
  assert.ok(sinks.length > 0, 'ana hears ben');
  await call(ben, 'disconnect', ana);

  const children = await call(pipeline, 'getChildren');
  assert.deepEqual(children.map((child) => child.id).sort(), [ana.id, ben.id].sort());
  candidates.stop();
  await call(ana, 'release');
  assert.equal((await errorOf(ana, 'getName')).code, 40101);
  await call(pipeline, 'release');
}

/** Collects the candidates an endpoint finds, by a subscription that can be ended. */
function candidatesOf(endpoint) {
  let listener;
  const first = new Promise((resolve) => {
    listener = (event) => resolve(event.candidate);
  });
  endpoint.on('IceCandidateFound', listener);
  return { first, stop: () => endpoint.removeListener('IceCandidateFound', listener) };
}

/** Names and tags, with text that needs escapes and text that looks like an id. */
async function namesAndTags(client) {
  const pipeline = await call(client, 'create', 'MediaPipeline', { meeting: 'tags' });
  const name = `Zoë "quoted" \u{1f600} \\ / ${pipeline.id}`;
  await call(pipeline, 'setName', name);
  assert.equal(await call(pipeline, 'getName'), name);
  await call(pipeline, 'addTag', 'room', 'standup');
  await call(pipeline, 'addTag', 'empty', '');
  assert.equal(await call(pipeline, 'getTag', 'room'), 'standup');
  const tags = (await call(pipeline, 'getTags')).map((tag) => [tag.key, tag.value]);
  assert.deepEqual(tags.sort(), [['empty', ''], ['room', 'standup']]);
  await call(pipeline, 'removeTag', 'room');
  assert.equal((await errorOf(pipeline, 'getTag', 'room')).code, 40110);
  await call(pipeline, 'release');
}

/** A transaction on a pipeline that exists. */
async function transactionOnPipeline(client) {
  const pipeline = await call(client, 'create', 'MediaPipeline', { meeting: 'transaction' });
  let endpoint;
  let filter;
  await call(pipeline, 'transaction', function operations() {
    endpoint = this.create('WebRtcEndpoint');
    filter = this.create('PassThrough');
    endpoint.connect(filter);
    endpoint.setName('made in a transaction');
  });
  endpoint = await endpoint;
  filter = await filter;
  assert.ok(filter.id.startsWith(`${pipeline.id}/`));
  assert.equal(await call(endpoint, 'getName'), 'made in a transaction');
  await call(pipeline, 'release');
}

/** A transaction that creates the pipeline and what is in it. */
async function transactionThatCreatesThePipeline(client) {
  let pipeline;
  let endpoint;
  await call(client, 'transaction', function operations() {
    pipeline = this.create('MediaPipeline', { meeting: 'transaction-new' });
    endpoint = pipeline.create('WebRtcEndpoint');
  });
  pipeline = await pipeline;
  endpoint = await endpoint;
  assert.ok(endpoint.id.startsWith(`${pipeline.id}/`));
  assert.match(await call(endpoint, 'processOffer', OFFER), /^v=0/);
  await call(pipeline, 'release');
}

/** The same, as the first thing a client does. */
async function transactionAsFirstCall(url) {
  const client = await connect(url);
  await transactionThatCreatesThePipeline(client);
  client.close();
}

/** What must fail, fails as on a real server, and the connection lives on. */
async function errors(client) {
  const pipeline = await call(client, 'create', 'MediaPipeline');
  const gone = '00000000-0000-4000-8000-000000000000_kurento.MediaPipeline';
  assert.equal((await errorOf(client, 'getMediaobjectById', gone)).code, 40101);
  const endpoint = await call(pipeline, 'create', 'WebRtcEndpoint');
  assert.equal((await errorOf(endpoint, 'processOffer', 'no SDP')).code, 40201);
  const other = await call(client, 'create', 'MediaPipeline');
  const elsewhere = await call(other, 'create', 'PassThrough');
  assert.ok((await errorOf(endpoint, 'connect', elsewhere)).code, 'of another pipeline');
  await call(pipeline, 'release');
  await call(other, 'release');
  assert.equal((await errorOf(client, 'getMediaobjectById', elsewhere.id + 'x')).code, 40101);
}
