"""PyPI's Authlib: a confidential client with requests."""

import html
import json
import os
import re
from urllib.parse import parse_qs, urljoin, urlsplit

import requests
from authlib.common.errors import AuthlibBaseError
from authlib.common.security import generate_token
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet

realm = json.loads(os.environ["TEGATA_REALM"])
about = requests.get(realm["issuer"] + "/.well-known/openid-configuration", timeout=5).json()
keys = KeySet.import_key_set(requests.get(about["jwks_uri"], timeout=5).json())
assert about["issuer"] == realm["issuer"]

def session(client, **more):
    """The client, at the endpoints that discovery names."""
    return OAuth2Session(
        client["id"], client.get("secret") or ECKey.import_key(client["key"]), token_endpoint=about["token_endpoint"],
        revocation_endpoint_auth_method=more.get("token_endpoint_auth_method"), default_timeout=5, **more)

def login(browser, url):
    """A person fills in the form; the answer is where the browser is sent."""
    page = browser.get(url, timeout=5).text
    action = html.unescape(re.search(r'<form[^>]*\saction="([^"]*)"', page)[1])
    form = {n: html.unescape(v) for n, v in re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', page)}
    form |= {"username": realm["user"], "password": realm["password"]}
    answer = browser.post(urljoin(url, action), data=form, allow_redirects=False, timeout=5)
    return answer.headers["Location"]

def refused(what, code, call):
    """Expects the protocol error of that code."""
    try:
        call()
    except AuthlibBaseError as err:
        assert err.error == code, f"{what}: {err}"
        return
    raise AssertionError(f"{what}: accepted")

def active(client, token):
    return client.introspect_token(about["introspection_endpoint"], token=token).json()["active"]

def person():
    browser = requests.Session()
    app = session(realm["app"], redirect_uri=realm["app"]["redirect"], scope="openid email",
                  token_endpoint_auth_method="client_secret_basic", code_challenge_method="S256")
    verifier, nonce = generate_token(48), generate_token()
    url, state = app.create_authorization_url(about["authorization_endpoint"], code_verifier=verifier, nonce=nonce)
    back = login(browser, url)
    assert parse_qs(urlsplit(back).query)["iss"] == [realm["issuer"]]

    def redeem(**more):
        return app.fetch_token(about["token_endpoint"], authorization_response=back, code_verifier=verifier, **more)

    refused("a wrong state", "mismatching_state", lambda: redeem(state="other"))
    tokens = redeem(state=state)
    claims = jwt.decode(tokens["id_token"], keys, algorithms=["ES256"]).claims
    jwt.JWTClaimsRegistry(
        iss={"essential": True, "value": realm["issuer"]}, aud={"essential": True, "value": realm["app"]["id"]},
        nonce={"essential": True, "value": nonce}).validate(claims)
    assert app.get(about["userinfo_endpoint"]).json()["email"] == realm["email"]
    assert active(app, tokens["access_token"])

    old = tokens["refresh_token"]
    new = app.refresh_token(about["token_endpoint"], refresh_token=old)
    assert new["refresh_token"] != old

    bye = browser.get(about["end_session_endpoint"], allow_redirects=False, timeout=5, params={
        "id_token_hint": new["id_token"], "post_logout_redirect_uri": realm["app"]["redirect"], "state": "bye"})
    assert bye.headers["Location"] == realm["app"]["redirect"] + "?state=bye", bye.text
    assert not active(app, new["access_token"])
    refused("refreshing after the logout", "invalid_grant",
            lambda: app.refresh_token(about["token_endpoint"], refresh_token=new["refresh_token"]))
    refused("a used code", "invalid_grant", lambda: redeem(state=state))

def program():
    signed = session(realm["signed"], token_endpoint_auth_method="private_key_jwt")
    signed.register_client_auth_method(
        PrivateKeyJWT(about["token_endpoint"], headers={"kid": realm["signed"]["key"]["kid"]}, alg="ES256"))
    for client in (session(realm["service"], token_endpoint_auth_method="client_secret_post"), signed):
        token = client.fetch_token(about["token_endpoint"], grant_type="client_credentials", scope="orders:read")
        assert token["scope"] == "orders:read" and "refresh_token" not in token
        assert active(client, token["access_token"])
        assert client.revoke_token(about["revocation_endpoint"], token=token["access_token"]).status_code == 200
        assert not active(client, token["access_token"])
    refused("an unknown scope", "invalid_scope", lambda: signed.fetch_token(
        about["token_endpoint"], grant_type="client_credentials", scope="nope"))

person()
program()
