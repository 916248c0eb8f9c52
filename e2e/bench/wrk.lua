-- Sends one prepared request after the other, around and around.
-- Arguments: METHOD PATH KIND FILE; each line of FILE is a token (KIND
-- "bearer") or a form to post (KIND "form").
local requests = {}
local at = 0

function init(args)
  local method, path, kind, file = args[1], args[2], args[3], args[4]
  for line in io.lines(file) do
    local headers, body = {}, nil
    for k, v in pairs(wrk.headers) do headers[k] = v end
    if kind == "bearer" then
      headers["Authorization"] = "Bearer " .. line
    else
      headers["Content-Type"] = "application/x-www-form-urlencoded"
      body = line
    end
    requests[#requests + 1] = wrk.format(method, path, headers, body)
  end
end

function request()
  at = at % #requests + 1
  return requests[at]
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format(
    'RESULT {"requests":%d,"duration_us":%d,"p50_us":%d,"p99_us":%d,"bad":%d,"broken":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    e.status, e.connect + e.read + e.write + e.timeout))
end
