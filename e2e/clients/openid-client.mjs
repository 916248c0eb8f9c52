// npm's openid-client: a confidential client and everything it does in a day.
import assert from 'node:assert/strict'
import * as client from 'openid-client'
import { Browser, realm, refused } from './browser.mjs'

const loopback = { execute: [client.allowInsecureRequests] }
const discover = (c, auth) => client.discovery(new URL(realm.issuer), c.id, c.secret, auth, loopback)
const app = await discover(realm.app, client.ClientSecretBasic(realm.app.secret))

// One login up to the redirect, with the checks that go with it.
async function login(more = {}) {
  const checks = {
    pkceCodeVerifier: client.randomPKCECodeVerifier(), expectedState: client.randomState(), expectedNonce: client.randomNonce(),
    idTokenExpected: true,
  }
  const url = client.buildAuthorizationUrl(app, {
    redirect_uri: realm.app.redirect, scope: 'openid email', state: checks.expectedState, nonce: checks.expectedNonce,
    code_challenge: await client.calculatePKCECodeChallenge(checks.pkceCodeVerifier), code_challenge_method: 'S256', ...more,
  })
  const browser = new Browser()
  return { browser, checks, back: await browser.login(url) }
}

const { browser, checks, back } = await login()
await refused('a wrong state', 'OAUTH_INVALID_RESPONSE', client.authorizationCodeGrant(app, back, { ...checks, expectedState: 'other' }))
const mixedUp = new URL(back)
mixedUp.searchParams.set('iss', 'https://evil.example')
await refused('a wrong iss', 'OAUTH_INVALID_RESPONSE', client.authorizationCodeGrant(app, mixedUp, checks))

const tokens = await client.authorizationCodeGrant(app, back, checks)
const { sub } = tokens.claims()
assert.equal((await client.fetchUserInfo(app, tokens.access_token, sub)).email, realm.email)

const refreshed = await client.refreshTokenGrant(app, tokens.refresh_token)
assert.notEqual(refreshed.refresh_token, tokens.refresh_token, 'a refresh token rotates')
assert.equal(refreshed.claims().sub, sub)

// A refresh token of two generations ago is somebody's copy: all ends.
const again = await client.refreshTokenGrant(app, refreshed.refresh_token)
await refused('a used refresh token', 'invalid_grant', client.refreshTokenGrant(app, tokens.refresh_token))
await refused('its successor', 'invalid_grant', client.refreshTokenGrant(app, again.refresh_token))

// Answers that are posted; a nonce that is another's; a code used twice.
const posted = await login({ response_mode: 'form_post' })
const one = await client.authorizationCodeGrant(app, posted.back.clone(), posted.checks)
await refused('a used code', 'invalid_grant', client.authorizationCodeGrant(app, posted.back, posted.checks))
assert.equal((await client.tokenIntrospection(app, one.access_token)).active, false, 'a code used twice kills what it gave')
const stale = await login()
await refused('a wrong nonce', 'OAUTH_JWT_CLAIM_COMPARISON_FAILED', client.authorizationCodeGrant(app, stale.back, { ...stale.checks, expectedNonce: 'other' }))

// Introspection before and after the revocation of the refresh token.
const third = await login()
const mine = await client.authorizationCodeGrant(app, third.back, third.checks)
assert.equal((await client.tokenIntrospection(app, mine.access_token)).active, true)
await client.tokenRevocation(app, mine.refresh_token)
assert.equal((await client.tokenIntrospection(app, mine.access_token)).active, false)
await refused('a revoked refresh token', 'invalid_grant', client.refreshTokenGrant(app, mine.refresh_token))

// Logout by the browser (RP-Initiated Logout 1.0 §2) ends what is left.
const last = await login()
const final = await client.authorizationCodeGrant(app, last.back, last.checks)
const bye = await last.browser.go(client.buildEndSessionUrl(app, {
  id_token_hint: final.id_token, post_logout_redirect_uri: realm.app.redirect, state: 'bye',
}))
assert.equal(bye.headers.get('location'), `${realm.app.redirect}?state=bye`)
await refused('a token after the logout', 'invalid_grant', client.refreshTokenGrant(app, final.refresh_token))

// A redirect URI that is not registered never gets an answer.
const elsewhere = await browser.go(client.buildAuthorizationUrl(app, { redirect_uri: 'https://evil.example/cb', scope: 'openid' }))
assert.equal(elsewhere.status, 400)
assert.equal(elsewhere.headers.get('location'), null)

// A program on its own account, by secret and by private_key_jwt.
const key = await crypto.subtle.importKey('jwk', realm.signed.key, { name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign'])
const signed = client.PrivateKeyJwt({ key, kid: realm.signed.key.kid })
for (const config of [await discover(realm.service), await discover(realm.signed, signed)]) {
  const { access_token, refresh_token } = await client.clientCredentialsGrant(config, { scope: 'orders:read' })
  assert.equal(refresh_token, undefined)
  const answer = await client.tokenIntrospection(config, access_token)
  assert.deepEqual([answer.active, answer.scope, answer.client_id], [true, 'orders:read', config.clientMetadata().client_id])
  await client.tokenRevocation(config, access_token)
  assert.equal((await client.tokenIntrospection(config, access_token)).active, false)
}
const wrong = await discover({ ...realm.service, secret: 'wrong' })
await refused('a wrong secret', 'unauthorized_client', client.clientCredentialsGrant(wrong))
