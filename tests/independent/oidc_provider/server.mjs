// An OpenID provider that is none of ours: npm's oidc-provider, which is certified by the OpenID Foundation, on 127.0.0.1.
//
//   node server.mjs '{"tls": {"certificate": "server.pem", "key": "key.pem", "authorities": "ca.pem"}, "requireNonce": true}'
//
// Both options may be left out. Prints {"url": …} once it serves, and ends when its standard input does. Clients register
// themselves (RFC 7591): POST /reg. Every optional feature that we use is on; a client's metadata say what it wants.
// The login and the consent are one form each, as a person meets them. Two things can be called with a token:
//   /me        userinfo; takes bearer, DPoP-bound and certificate-bound tokens
//   /api/notes a resource (RFC 8707) that wants tokens for /api/ and for nothing else

import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';

import * as oidc from 'oidc-provider';

const options = JSON.parse(process.argv[2] ?? '{}');

const LIFETIME = 600; // seconds; of access tokens
const PEOPLE = { 'account-1': 'Ada Lovelace', 'account-2': 'Grace Hopper' };

function signingKey(alg, type, parameters) {
  const { privateKey } = generateKeyPairSync(type, parameters);
  return { ...privateKey.export({ format: 'jwk' }), alg, use: 'sig' };
}

// The DPoP nonce is wanted of every proof where the option says so, at the token endpoint and at userinfo.
function features(issuer) {
  return {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    deviceFlow: { enabled: true },
    dPoP: { enabled: true, nonceSecret: randomBytes(32), requireNonce: () => options.requireNonce === true },
    introspection: { enabled: true, allowedPolicy: (ctx, client, token) => token.clientId === client.clientId },
    jwtIntrospection: { enabled: true },
    jwtResponseModes: { enabled: true },
    jwtUserinfo: { enabled: true },
    mTLS: {
      enabled: true,
      certificateBoundAccessTokens: true,
      selfSignedTlsClientAuth: true,
      tlsClientAuth: true,
      getCertificate: (ctx) => ctx.socket.getPeerX509Certificate?.(),
      certificateAuthorized: (ctx) => ctx.socket.authorized === true,
      certificateSubjectMatches: (ctx, property, expected) => subjectMatches(ctx, property, expected),
    },
    pushedAuthorizationRequests: { enabled: true },
    registration: { enabled: true, secretFactory: () => `canary_openid_secret_${randomBytes(16).toString('hex')}` },
    requestObjects: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (ctx, indicator) => resource(issuer, indicator),
    },
    revocation: { enabled: true },
    richAuthorizationRequests: {
      enabled: true,
      types: { note: { validate: () => undefined } },
      authorizationDetailsForGrantSource: (ctx) => ctx.oidc.grant.rar,
      authorizationDetailsForAccessToken: (ctx, token, source) => source.rar,
      authorizationDetailsForIntrospection: (ctx, token) => token.rar,
    },
  };
}

function subjectMatches(ctx, property, expected) {
  const certificate = ctx.socket.getPeerCertificate();
  if (property === 'tls_client_auth_subject_dn') return `CN=${certificate.subject.CN}` === expected;
  return (certificate.subjectaltname ?? '').split(', ').some((name) => name.split(':')[1] === expected);
}

function resource(issuer, indicator) {
  if (indicator !== `${issuer}/api/`) throw new oidc.errors.InvalidTarget();
  return { scope: 'notes:read', audience: indicator, accessTokenFormat: 'opaque', accessTokenTTL: LIFETIME };
}

function openProvider(issuer) {
  return new oidc.Provider(issuer, {
    claims: { openid: ['sub'], profile: ['name'] },
    clientAuthMethods: ['client_secret_basic', 'client_secret_jwt', 'client_secret_post', 'private_key_jwt',
      'tls_client_auth', 'self_signed_tls_client_auth', 'none'],
    cookies: { keys: [randomBytes(32).toString('hex')] },
    features: features(issuer),
    // Its own guard against private addresses, in the dispatcher, would keep it from fetching our keys on loopback.
    fetch: (url, { dispatcher, ...rest }) => fetch(url, rest),
    findAccount: (ctx, sub) => PEOPLE[sub] && { accountId: sub, claims: () => ({ sub, name: PEOPLE[sub] }) },
    interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
    jwks: {
      keys: [
        signingKey('RS256', 'rsa', { modulusLength: 2048 }),
        signingKey('ES256', 'ec', { namedCurve: 'P-256' }),
      ],
    },
    pkce: { required: () => true },
    rotateRefreshToken: true, // and whoever presents one that was replaced loses the grant
    ttl: { AccessToken: LIFETIME, ClientCredentials: LIFETIME, DeviceCode: 60, Grant: 3600, IdToken: LIFETIME,
      Interaction: LIFETIME, RefreshToken: 3600, Session: 3600 },
  });
}

const escaped = (text) => text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);

const form = (title, body, button) => `<!doctype html><title>${title}</title><h1>${title}</h1>
<form method="post">${body}<button type="submit">${button}</button>
<button type="submit" name="refused" value="yes">Cancel</button></form>`;

function answer(response, status, body, headers = {}) {
  const json = typeof body !== 'string';
  const type = json ? 'application/json' : 'text/html; charset=utf-8';
  response.writeHead(status, { 'Content-Type': type, 'Cache-Control': 'no-store', ...headers });
  response.end(json ? JSON.stringify(body) : body);
}

async function fieldsOf(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return new URLSearchParams(Buffer.concat(chunks).toString());
}

async function showInteraction(provider, request, response) {
  const { prompt, params } = await provider.interactionDetails(request, response);
  if (prompt.name === 'login') {
    return answer(response, 200, form('Sign in', 'Account <input type="text" name="account">', 'Log in'));
  }
  return answer(response, 200, form('Authorize', `<p>${escaped(params.client_id)} asks for ${escaped(params.scope ?? '')}</p>`, 'Allow'));
}

async function finishInteraction(provider, request, response) {
  const fields = await fieldsOf(request);
  const details = await provider.interactionDetails(request, response);
  const result = await decision(provider, fields, details);
  return provider.interactionFinished(request, response, result, { mergeWithLastSubmission: !result.error });
}

async function decision(provider, fields, details) {
  if (fields.has('refused')) return { error: 'access_denied' };
  if (details.prompt.name === 'login') return { login: { accountId: fields.get('account') } };
  return { consent: { grantId: await granted(provider, details) } };
}

async function granted(provider, { grantId, session, params, prompt: { details } }) {
  const grant = grantId
    ? await provider.Grant.find(grantId)
    : new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  if (details.missingOIDCScope) grant.addOIDCScope(details.missingOIDCScope.join(' '));
  if (details.missingOIDCClaims) grant.addOIDCClaims(details.missingOIDCClaims);
  for (const [indicator, scopes] of Object.entries(details.missingResourceScopes ?? {})) {
    grant.addResourceScope(indicator, scopes.join(' '));
  }
  for (const detail of details.rar ?? []) grant.addRar(detail);
  return grant.save();
}

async function showNotes(provider, request, response) {
  const [scheme, value] = (request.headers.authorization ?? '').split(' ');
  const models = [provider.AccessToken, provider.ClientCredentials];
  const found = scheme.toLowerCase() === 'bearer' && value
    ? (await Promise.all(models.map((model) => model.find(value)))).find(Boolean) : undefined;
  if (!found || found.isSenderConstrained()) {
    return answer(response, 401, { error: 'invalid_token' }, { 'WWW-Authenticate': 'Bearer error="invalid_token"' });
  }
  if (found.aud !== `${provider.issuer}/api/`) return answer(response, 403, { error: 'insufficient_audience' });
  return answer(response, 200, { owner: found.accountId ?? found.clientId, scope: found.scope, notes: ['Remember the milk'] });
}

const ROUTES = [
  ['GET', /^\/interaction\/[\w-]+$/, showInteraction],
  ['POST', /^\/interaction\/[\w-]+$/, finishInteraction],
  ['GET', /^\/api\/notes$/, showNotes],
];

function handler(provider) {
  const rest = provider.callback();
  return (request, response) => {
    const { pathname } = new URL(request.url, provider.issuer);
    const route = ROUTES.find(([method, path]) => method === request.method && path.test(pathname));
    if (!route) return rest(request, response);
    return route[2](provider, request, response).catch((error) => {
      console.error(error);
      answer(response, error.statusCode ?? 500, { error: error.error ?? 'server_error' });
    });
  };
}

function makeServer({ tls }) {
  if (!tls) return http.createServer();
  // A certificate is asked for and never demanded: what to think of it is up to oidc-provider.
  return https.createServer({
    cert: readFileSync(tls.certificate),
    key: readFileSync(tls.key),
    ca: tls.authorities && readFileSync(tls.authorities),
    requestCert: true,
    rejectUnauthorized: false,
  });
}

const server = makeServer(options);
server.listen(0, '127.0.0.1', () => {
  const url = `${options.tls ? 'https' : 'http'}://127.0.0.1:${server.address().port}`;
  const provider = openProvider(url);
  for (const event of ['server_error', 'grant.error', 'authorization.error', 'pushed_authorization_request.error']) {
    provider.on(event, (ctx, error) => console.error(event, error.message, error.error_detail));
  }
  server.on('request', handler(provider));
  process.stdout.write(`${JSON.stringify({ url })}\n`);
});
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
