// An OpenID provider for the tests: oidc-provider with plain pages of its own, and switches for what goes wrong.
//
// Its first argument is {client, accounts} as JSON; it prints its issuer as one line and ends when standard input does.
// Each line there is a switch, answered with "ok":
//
//   down, up       answer nothing but 503; answer again
//   rotate         sign with a new key; the earlier ones stay published
//   leave ACCOUNT  the account is gone, and its refresh tokens with it
//   revoke         every refresh token given so far is worth nothing
//   move ACCOUNT GROUP  the account is in this group and no other
import { generateKeyPairSync, randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const installed = createRequire(new URL("../clients/package.json", import.meta.url));
const { Provider } = await import(installed.resolve("oidc-provider"));

console.info = console.error; // the library's notices; standard output is for answers

const { client, accounts } = JSON.parse(process.argv[2]);
const keys = [], refreshTokens = [];
let down = false, provider, answer;

const server = createServer((request, response) => {
  if (down) {
    response.writeHead(503).end("down");
  } else if (request.url.startsWith("/sign-in/")) {
    signIn(request, response).catch((error) => response.writeHead(400).end(String(error)));
  } else {
    answer(request, response);
  }
});
await new Promise((listening) => server.listen(0, "localhost", listening));
const issuer = `http://localhost:${server.address().port}`;

// rotate makes the provider anew, since it reads its keys once. What it remembers is kept beside it and survives.
function rotate() {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  keys.unshift({ ...privateKey.export({ format: "jwk" }), kid: randomUUID(), use: "sig", alg: "RS256" });
  provider = new Provider(issuer, {
    clients: [{ ...client, grant_types: ["authorization_code", "refresh_token"] }],
    jwks: { keys },
    cookies: { keys: ["of the tests"] },
    scopes: ["openid", "offline_access", "groups"],
    claims: { openid: ["sub"], profile: ["name"], email: ["email", "email_verified"], groups: ["groups"] },
    conformIdTokenClaims: false, // claims go into the ID token too, as with most companies' providers
    findAccount: (_, id) => accounts[id] && { accountId: id, claims: () => ({ sub: id, ...accounts[id] }) },
    loadExistingGrant: consent,
    interactions: { url: (_, interaction) => `/sign-in/${interaction.uid}` },
    features: {
      devInteractions: { enabled: false },
      revocation: { enabled: true },
      rpInitiatedLogout: { logoutSource: (context, form) => { context.body = signOutPage(form); } },
    },
  });
  provider.on("refresh_token.saved", (token) => refreshTokens.push(token));
  answer = provider.callback();
}

// consent grants what the client asks for: it is the company's own, and nobody is asked.
async function consent({ oidc }) {
  const grant = new oidc.provider.Grant({ clientId: oidc.client.clientId, accountId: oidc.session.accountId });
  grant.addOIDCScope(oidc.params.scope);
  await grant.save();
  return grant;
}

async function signIn(request, response) {
  if (request.method === "POST") {
    const form = new URLSearchParams((await request.toArray()).join(""));
    await provider.interactionFinished(request, response, { login: { accountId: form.get("account") }, consent: {} });
    return;
  }
  const buttons = Object.keys(accounts).map((id) => `<p><button name="account" value="${id}">${id}</button></p>`);
  response.setHeader("Content-Type", "text/html; charset=utf-8");
  response.end(page("Who are you?", `<form method="post">${buttons.join("")}</form>`));
}

const signOutPage = (form) => page("Sign out everywhere?", `${form}<button form="op.logoutForm" name="logout" value="yes">Yes</button>`);

const page = (title, body) => `<!doctype html><html lang="en"><title>${title}</title><link rel="icon" href="data:,"><h1>${title}</h1>${body}</html>`;

rotate();
console.log(issuer);
for await (const line of createInterface({ input: process.stdin })) {
  const [word, account, group] = line.split(" ");
  if (word === "rotate") rotate();
  if (word === "leave") delete accounts[account];
  if (word === "revoke") await Promise.all(refreshTokens.map((token) => token.destroy()));
  if (word === "move") accounts[account].groups = [group];
  if (word === "down" || word === "up") down = word === "down";
  console.log("ok");
}
process.exit();
