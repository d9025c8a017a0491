// What the scenarios share: the unmodified client library, and the line protocol with the Rust test.
//
// A scenario reports each step as one JSON line on stdout, {"step": NAME, ...}, and where the test
// must do or check something first, waits for one JSON line on stdin. Exit code 0 is success.
'use strict';

const assert = require('node:assert/strict');
const readline = require('node:readline');

// The library's Transaction extends `Domain` as a function, which it no longer is on current Node;
// without it the library uses a stand-in of its own.
require('node:domain').Domain = undefined;
const kurento = require('kurento-client');

const OFFER = [
  'v=0', 'o=- 4611731400430051336 2 IN IP4 127.0.0.1', 's=-', 't=0 0', 'a=group:BUNDLE 0 1',
  'm=audio 9 UDP/TLS/RTP/SAVPF 111', 'c=IN IP4 0.0.0.0', 'a=ice-ufrag:4ZcD',
  'a=ice-pwd:2/1muCWoOi3uLifh0NuRHlmB',
  'a=fingerprint:sha-256 75:74:5A:A6:A4:E5:52:F4:A7:67:4C:01:C7:EE:91:3F:' +
    '21:3D:A2:E3:53:7B:6F:30:86:F2:30:AA:65:FB:04:24',
  'a=setup:actpass', 'a=mid:0', 'a=sendrecv', 'a=rtcp-mux', 'a=rtpmap:111 opus/48000/2',
  'm=video 9 UDP/TLS/RTP/SAVPF 96', 'c=IN IP4 0.0.0.0', 'a=ice-ufrag:4ZcD',
  'a=ice-pwd:2/1muCWoOi3uLifh0NuRHlmB',
  'a=fingerprint:sha-256 75:74:5A:A6:A4:E5:52:F4:A7:67:4C:01:C7:EE:91:3F:' +
    '21:3D:A2:E3:53:7B:6F:30:86:F2:30:AA:65:FB:04:24',
  'a=setup:actpass', 'a=mid:1', 'a=sendrecv', 'a=rtcp-mux', 'a=rtpmap:96 VP8/90000', '',
].join('\r\n');

/** Opens a client; rejects when the first connection fails. */
function connect(url) {
  return new Promise((resolve, reject) => {
    kurento(url, { failAfter: 1 }, (error, client) => (error ? reject(error) : resolve(client)));
  });
}

/** Opens a client that reconnects for as long as it takes, as it does by default. */
function connectForGood(url) {
  return new Promise((resolve, reject) => {
    kurento(url, (error, client) => (error ? reject(error) : resolve(client)));
  });
}

const stdout = process.stdout.write.bind(process.stdout);
// The library writes remarks to the console; stdout belongs to the protocol with the test.
console.log = console.error;

/** Reports a step with what the test should know of it. */
function report(step, facts = {}) {
  stdout(`${JSON.stringify({ step, ...facts })}\n`);
}

const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Waits for the test's next line. */
async function told() {
  const { value, done } = await lines.next();
  assert.ok(!done, 'the test went away');
  return JSON.parse(value);
}

/** Waits for the next event of a kind on an object. The subscription must be set up before. */
function once(object, kind) {
  return new Promise((resolve) => object.once(kind, resolve));
}

/**
 * Calls a method of a library object; rejects with the server's error.
 *
 * By callback, because the library's promises are fulfilled with nothing where a call has failed.
 */
function call(object, method, ...parameters) {
  return new Promise((resolve, reject) => {
    const done = (error, value) => (error ? reject(error) : resolve(value));
    object[method](...parameters, done);
  });
}

/** The error that the same call fails with. */
async function errorOf(object, method, ...parameters) {
  try {
    await call(object, method, ...parameters);
  } catch (error) {
    return error;
  }
  return assert.fail(`${method} succeeded, where an error was expected`);
}

/** Runs a scenario with the URL from the command line. */
function run(scenario) {
  scenario(process.argv[2]).then(
    () => {
      report('done');
      process.exit(0);
    },
    (error) => {
      console.error(error);
      process.exit(1);
    },
  );
}

module.exports = {
  OFFER, assert, call, connect, connectForGood, errorOf, once, report, run, told,
};
