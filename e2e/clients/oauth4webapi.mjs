// npm's oauth4webapi, the strictest there is: a public client, step by step.
import assert from 'node:assert/strict'
import * as oauth from 'oauth4webapi'
import { Browser, realm, refused } from './browser.mjs'

const loopback = { [oauth.allowInsecureRequests]: true }
const issuer = new URL(realm.issuer)
const as = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, loopback))
assert.deepEqual(as.code_challenge_methods_supported, ['S256'])
assert.equal(as.authorization_response_iss_parameter_supported, true)

// The same document where RFC 8414 §3 has it.
const same = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { ...loopback, algorithm: 'oauth2' }))
assert.equal(same.token_endpoint, as.token_endpoint)

const spa = { client_id: realm.spa.id }
const nobody = oauth.None()
const verifier = oauth.generateRandomCodeVerifier()
const nonce = oauth.generateRandomNonce()
const state = oauth.generateRandomState()
const url = new URL(as.authorization_endpoint)
url.search = new URLSearchParams({
  client_id: spa.client_id, redirect_uri: realm.spa.redirect, response_type: 'code', scope: 'openid email', state, nonce,
  code_challenge: await oauth.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256',
})
const back = await new Browser().login(url)

assert.throws(() => oauth.validateAuthResponse(as, spa, back, 'other'), /"state"/)
assert.throws(() => oauth.validateAuthResponse({ ...as, issuer: 'https://evil.example' }, spa, back, state), /"iss"/)
const params = oauth.validateAuthResponse(as, spa, back, state)

const redeem = (v) => oauth.authorizationCodeGrantRequest(as, spa, nobody, params, realm.spa.redirect, v, loopback)
const answer = await redeem(verifier)
await refused('a wrong nonce', oauth.JWT_CLAIM_COMPARISON, oauth.processAuthorizationCodeResponse(as, spa, answer.clone(), { expectedNonce: 'other' }))
const tokens = await oauth.processAuthorizationCodeResponse(as, spa, answer, { expectedNonce: nonce, requireIdToken: true })
await oauth.validateApplicationLevelSignature(as, answer, loopback) // of the ID token, by the published keys
const { sub } = oauth.getValidatedIdTokenClaims(tokens)

const about = await oauth.processUserInfoResponse(as, spa, sub, await oauth.userInfoRequest(as, spa, tokens.access_token, loopback))
assert.equal(about.email, realm.email)

const refresh = async (token) =>
  oauth.processRefreshTokenResponse(as, spa, await oauth.refreshTokenGrantRequest(as, spa, nobody, token, loopback))
const refreshed = await refresh(tokens.refresh_token)
assert.notEqual(refreshed.refresh_token, tokens.refresh_token)

await oauth.processRevocationResponse(await oauth.revocationRequest(as, spa, nobody, refreshed.refresh_token, loopback))
await refused('a revoked refresh token', 'invalid_grant', refresh(refreshed.refresh_token))
const late = await oauth.userInfoRequest(as, spa, refreshed.access_token, loopback)
await refused('userinfo after the revocation', oauth.WWW_AUTHENTICATE_CHALLENGE, oauth.processUserInfoResponse(as, spa, sub, late))
await refused('a used code', 'invalid_grant', redeem(verifier).then((r) => oauth.processAuthorizationCodeResponse(as, spa, r)))

// private_key_jwt (RFC 7523 §2.2) for a program, which also introspects; its
// access token is one as RFC 9068 wants it.
const program = { client_id: realm.signed.id }
const key = await crypto.subtle.importKey('jwk', realm.signed.key, { name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign'])
const auth = oauth.PrivateKeyJwt({ key, kid: realm.signed.key.kid })
const minted = await oauth.processClientCredentialsResponse(as, program,
  await oauth.clientCredentialsGrantRequest(as, program, auth, { scope: 'orders:read' }, loopback))
const asked = await oauth.processIntrospectionResponse(as, program,
  await oauth.introspectionRequest(as, program, auth, minted.access_token, loopback))
assert.deepEqual([asked.active, asked.scope], [true, 'orders:read'])
const request = new Request('https://api.example/orders', { headers: { authorization: `Bearer ${minted.access_token}` } })
const claims = await oauth.validateJwtAccessToken(as, request, realm.audience, loopback)
assert.equal(claims.client_id, realm.signed.id)
