-- Sends the requests of a file, which are separated by NUL bytes, one after the other: wrk ... -- FILE
local requests, at = {}, 0

function init(args)
  local file = assert(io.open(args[1], "rb"))
  for raw in file:read("*a"):gmatch("([^%z]+)%z") do
    requests[#requests + 1] = raw
  end
  file:close()
end

function request()
  at = at % #requests + 1
  return requests[at]
end
