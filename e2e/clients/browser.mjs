// A person at a browser: keeps cookies, fills in forms, follows no redirect.
import assert from 'node:assert/strict'

// What the test that runs a script tells it.
export const realm = JSON.parse(process.env.TEGATA_REALM)

const unescape = (text) => text.replaceAll('&#43;', '+').replaceAll('&#34;', '"').replaceAll('&#39;', "'").replaceAll('&amp;', '&')

function form(page) {
  const action = /<form[^>]*\saction="([^"]*)"/.exec(page)
  assert(action, `no form in ${page}`)
  const values = new URLSearchParams()
  for (const [, name, value] of page.matchAll(/<input type="hidden" name="([^"]*)" value="([^"]*)"/g)) {
    values.set(name, unescape(value))
  }
  return { action: unescape(action[1]), values }
}

export class Browser {
  cookies = new Map()

  async go(url, init = {}) {
    const cookie = [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    const answer = await fetch(url, { ...init, redirect: 'manual', headers: cookie ? { cookie } : {} })
    for (const line of answer.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line)
      this.cookies.set(name, value)
    }
    return answer
  }

  // login comes back with what the relying party receives: a URL, or with
  // response_mode=form_post the Request.
  async login(url) {
    const { action, values } = form(await (await this.go(url)).text())
    values.set('username', realm.user)
    values.set('password', realm.password)
    const answer = await this.go(new URL(action, url), { method: 'POST', body: values })
    if (answer.status === 302) return new URL(answer.headers.get('location'))
    const post = form(await answer.text())
    return new Request(post.action, { method: 'POST', body: post.values })
  }
}

// refused expects the protocol error of that code.
export async function refused(what, code, promise) {
  const err = await promise.then(() => assert.fail(`${what}: accepted`), (err) => err)
  assert.equal(err.error ?? err.code, code, `${what}: ${err.stack}`)
}
