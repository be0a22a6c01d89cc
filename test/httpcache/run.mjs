// Runs the public HTTP cache tests, or those named, through a gateway and prints one JSON array: each test's id, kind and
// outcome.
//
//   node run.mjs GATEWAY ORIGIN TOKEN [ID]...
//
// The suite takes its fetch function as an argument, and here that adds what the gateway asks for: the bearer token on
// every request, also where a test has an Authorization of its own, and a project in every path. Each test has a project
// to itself, so that the writes of one neither invalidate what another reads nor spend its quota. What the suite tells
// its own server, before and after a test, goes there directly.

import { createHash } from 'node:crypto'
import fetch from 'node-fetch'
import { getResults, runTests } from 'http-cache-tests/client/runner.mjs'
import suites from 'http-cache-tests/tests/index.mjs'

const [gateway, origin, token, ...ids] = process.argv.slice(2)

// How many tests run at once: most of their time they wait for something to become stale.
const atOnce = 200

function project (id) {
  const digest = createHash('sha256').update(id).digest()
  return String.fromCharCode(...digest.subarray(0, 20).map(byte => 97 + byte % 26))
}

function authorised (headers) {
  return headers.filter(([name]) => name.toLowerCase() !== 'authorization').concat([['Authorization', `Bearer ${token}`]])
}

function throughGateway (url, init) {
  const [, id, rest] = /^\/test\/([^/?]+)(.*)$/.exec(url) ?? []
  if (id === undefined) return fetch(origin + url, init)
  return fetch(`${gateway}/test/${id}/${project(id)}${rest}`, { ...init, headers: authorised(init.headers) })
}

const chosen = suites.map(suite => ({ ...suite, tests: suite.tests.filter(test => ids.length === 0 || ids.includes(test.id)) }))
await runTests(chosen, throughGateway, false, '', atOnce)
const results = getResults()
const outcomes = chosen.flatMap(suite => suite.tests).filter(test => test.id in results).map(test => {
  const result = results[test.id]
  const passed = result === true
  return { id: test.id, kind: test.kind ?? 'required', passed, reason: passed ? '' : result.join(': ') }
})
process.stdout.write(JSON.stringify(outcomes) + '\n', () => process.exit())
