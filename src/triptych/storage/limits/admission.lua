-- The admission index of one org. One call takes a list of operations and answers each. The script goes
-- on in books.lua.
--
-- KEYS[1]  prefix of the org's keys, hash tag included
-- ARGV[1]  the server's run id: a book kept by another run of the server is not believed
-- ARGV[2]  lease of a hold in ms
-- ARGV[3]  operations, msgpack
-- ARGV[4]  now in us since the epoch, or "0": the server's clock (tests bring their own)
-- ARGV[5]  version of the directory by which the caller judges its requests
--
-- Keys: <p>:book       hash. run, token (of the rebuild that made it), d:<scope> requests of a day,
--                      b:<scope> balance, c:<scope> slots taken, x:<exchange> hold. All or nothing:
--                      when it is gone, or of another run, nothing is admitted until it is rebuilt.
--                      metered or free: a version of the directory, older than the read it was made
--                      of. metered: balances say all; free: nobody had a budget, and they have gaps.
--       <p>:leases     sorted set of exchange ids by the ms at which their hold is overdue: while one
--                      is, nothing is admitted until the book was made anew
--       <p>:lock       who rebuilds
--       <p>:r:<scope>  list of ms, one for each request of the last minute
--       <p>:t:<scope>  list of ms in which tokens were counted, <p>:u:<scope> hash of ms to tokens
--
-- Numbers are doubles: nano-USD are exact up to 2^53, nine million dollars a scope and cycle.

local prefix, run, lease_ms = KEYS[1], ARGV[1], tonumber(ARGV[2])
local operations = cmsgpack.unpack(ARGV[3])
local book, leases, lock = prefix .. ':book', prefix .. ':leases', prefix .. ':lock'
local call, floor, min, max = redis.call, math.floor, math.min, math.max
local WINDOW, DAY, TOMBSTONE = 60000, 86400000, 86400000
local IDLE = 45 * DAY  -- an org nobody asks for is forgotten: it can be rebuilt

local now, wall_ms
if ARGV[4] == '0' then
  local time = call('TIME')
  now = time[1] * 1000 + floor(time[2] / 1000)
  wall_ms = time[1] * 1000 + time[2] / 1000
else
  wall_ms = tonumber(ARGV[4]) / 1000
  now = floor(wall_ms)
end
local today = floor(wall_ms / DAY)
local to_midnight = math.ceil((today + 1) * DAY - wall_ms)

local function int(number) return string.format('%.0f', number) end

-- What was read or changed of the book during this call.
local read, changed = {}, {}

local function get(field)
  local value = read[field]
  if value == nil then
    value = call('HGET', book, field)
    read[field] = value
  end
  return value
end

local function put(field, value)
  read[field] = value
  changed[field] = true
end

local function get_packed(field)
  local text = get(field)
  return text and cmsgpack.unpack(text) or nil
end

-- Balance: {cycle, spent nano-USD, held nano-USD, spent credits, held credits}.
local function balance_of(scope, cycle)
  local balance = get_packed('b:' .. scope)
  if not balance or balance[1] < cycle then balance = {cycle, 0, 0, 0, 0} end
  return balance
end

-- -- windows ---------------------------------------------------------------------------------

local requests, tokens = {}, {}

-- Whether a window's oldest moment is so far ahead that the clock was set back, or is another server's:
-- it would not be over for as long. What was counted in that minute is forgotten.
local function from_before_a_step_back(first)
  return first and tonumber(first) > now + WINDOW
end

local function requests_of(scope)
  local count = requests[scope]
  if not count then
    local key = prefix .. ':r:' .. scope
    local first = call('LINDEX', key, 0)
    if from_before_a_step_back(first) then
      call('DEL', key)
      first = false
    end
    while first and tonumber(first) <= now - WINDOW do
      call('LPOP', key)
      first = call('LINDEX', key, 0)
    end
    count = first and call('LLEN', key) or 0
    requests[scope] = count
  end
  return count
end

local function add_request(scope)
  local key = prefix .. ':r:' .. scope
  call('RPUSH', key, int(now))
  call('PEXPIRE', key, WINDOW + 1000)
  requests[scope] = requests[scope] + 1
end

local function last_of(key)
  local last = call('LINDEX', key, -1)
  return last and tonumber(last) + WINDOW - now or 0
end

local function tokens_of(scope)
  local total = tokens[scope]
  if not total then
    local moments, amounts = prefix .. ':t:' .. scope, prefix .. ':u:' .. scope
    local first = call('LINDEX', moments, 0)
    if from_before_a_step_back(first) then
      call('DEL', moments)
      first = false
    end
    if not first then
      call('DEL', amounts)
      total = 0
    else
      total = tonumber(call('HGET', amounts, 'total') or 0)
      local before = total
      while first and tonumber(first) <= now - WINDOW do
        call('LPOP', moments)
        total = total - tonumber(call('HGET', amounts, first) or 0)
        call('HDEL', amounts, first)
        first = call('LINDEX', moments, 0)
      end
      if total ~= before then call('HSET', amounts, 'total', int(total)) end
    end
    tokens[scope] = total
  end
  return total
end

local function add_tokens(scope, amount)
  local moments, amounts = prefix .. ':t:' .. scope, prefix .. ':u:' .. scope
  local moment = int(now)
  local last = call('LINDEX', moments, -1)
  if last and tonumber(last) >= now then moment = last else call('RPUSH', moments, moment) end
  call('HINCRBY', amounts, moment, int(amount))
  tokens[scope] = tokens[scope] + amount
  call('HSET', amounts, 'total', int(tokens[scope]))
  call('PEXPIRE', moments, WINDOW + 1000)
  call('PEXPIRE', amounts, WINDOW + 2000)
  return tonumber(moment)
end

local function replace_tokens(scope, moment, difference)
  local field, amounts = int(moment), prefix .. ':u:' .. scope
  local total = tokens_of(scope)
  if call('HEXISTS', amounts, field) == 1 then
    call('HINCRBY', amounts, field, int(difference))
    tokens[scope] = total + difference
    call('HSET', amounts, 'total', int(tokens[scope]))
  end
end

local function tokens_wait(scope, limit, amount)
  local moments, amounts = prefix .. ':t:' .. scope, prefix .. ':u:' .. scope
  local excess, start = tokens_of(scope) + amount - limit, 0
  while true do
    local some = call('LRANGE', moments, start, start + 99)
    if #some == 0 then return WINDOW end
    local counted = call('HMGET', amounts, unpack(some))
    for i = 1, #some do
      excess = excess - tonumber(counted[i] or 0)
      if excess <= 0 then return max(1, tonumber(some[i]) + WINDOW - now) end
    end
    start = start + 100
  end
end

-- The token window with the fewest left: limit (-1: none), left, ms until it is empty.
local function least_tokens(scopes)
  local limit, left, reset = -1, 0, 0
  for _, scope in ipairs(scopes) do
    local tpm = scope[5]
    if tpm >= 0 then
      local remaining = max(0, tpm - tokens_of(scope[2]))
      if limit < 0 or remaining < left then
        limit, left, reset = tpm, remaining, last_of(prefix .. ':t:' .. scope[2])
      end
    end
  end
  return limit, left, reset
end

-- -- holds -----------------------------------------------------------------------------------

-- Hold: {slots, windows {{scope, ms, tokens}}, balances {{scope, cycle}}, nano-USD, credits, state},
-- state: 0 slots only, 1 reserved, 2 lapsed (nothing held any more, but what comes late is settled).

local function in_balances(hold, held_nusd, spent_nusd, held_credits, spent_credits)
  for _, place in ipairs(hold[3]) do
    local balance = balance_of(place[1], place[2])
    if balance[1] == place[2] then
      balance[2] = balance[2] + spent_nusd
      balance[3] = balance[3] + held_nusd
      balance[4] = balance[4] + spent_credits
      balance[5] = balance[5] + held_credits
      put('b:' .. place[1], cmsgpack.pack(balance))
    end
  end
end

local function take_slots(scopes, amount)
  for _, scope in ipairs(scopes) do
    put('c:' .. scope, int(max(0, tonumber(get('c:' .. scope) or 0) + amount)))
  end
end

local function keep_hold(id, hold)
  put('x:' .. id, cmsgpack.pack(hold))
  call('ZADD', leases, int(now + lease_ms), id)
end

local function drop_hold(id)
  read['x:' .. id] = false
  changed['x:' .. id] = nil
  call('HDEL', book, 'x:' .. id)
  call('ZREM', leases, id)
end

-- Whether a node has not said for a lease that its exchange still runs. It may have died, or be cut off
-- from here alone: the database knows.
local function overdue()
  return #call('ZRANGEBYSCORE', leases, '-inf', int(now), 'LIMIT', 0, 1) > 0
end

-- Of a book whose balances are made anew.
local function lapse(id, hold)
  if hold[6] ~= 2 then
    take_slots(hold[1], -1)
    call('ZADD', leases, int(now + TOMBSTONE), id)
  end
  hold[6] = 2
  put('x:' .. id, cmsgpack.pack(hold))
end

-- -- operations --------------------------------------------------------------------------------

local operate = {}

-- {'admit', id or '', scopes, requests (0: only look)}; scope: {position, id, rpm, rpd, tpm, concurrency},
-- -1: no limit.
-- -> {admitted, limit, remaining, reset ms, wait ms, position, window, tokens limit, left, reset ms}
operate.admit = function(operation)
  local id, scopes, requests = operation[2], operation[3], operation[4]
  local least, position, limit, window, refused = -1, 0, -1, 1, false
  local slots = {}
  for _, scope in ipairs(scopes) do
    local name, rpm, rpd, concurrency = scope[2], scope[3], scope[4], scope[6]
    if rpm >= 0 then
      local left = rpm - requests_of(name)
      if left <= 0 then refused = true
      elseif least < 0 or left < least then least, position, limit, window = left, scope[1], rpm, 1 end
    end
    if rpd >= 0 then
      local count = get_packed('d:' .. name)
      local left = rpd - ((count and count[1] >= today) and count[2] or 0)
      if left <= 0 then refused = true
      elseif least < 0 or left < least then least, position, limit, window = left, scope[1], rpd, 2 end
    end
    if concurrency >= 0 and id ~= '' then
      if tonumber(get('c:' .. name) or 0) >= concurrency then refused = true end
      slots[#slots + 1] = name
    end
  end
  local tokens_limit, tokens_left, tokens_reset = least_tokens(scopes)
  local known = #slots > 0 and get('x:' .. id)
  if refused and not known then
    local wait, reset = -1, 0
    for _, scope in ipairs(scopes) do
      local name, rpm, rpd = scope[2], scope[3], scope[4]
      if rpm >= 0 and requests_of(name) >= rpm then
        local key, this = prefix .. ':r:' .. name, WINDOW
        local leaves = rpm > 0 and call('LINDEX', key, requests_of(name) - rpm)
        if leaves then this = max(1, tonumber(leaves) + WINDOW - now) end
        if this > wait then
          wait, position, limit, window, reset = this, scope[1], rpm, 1, last_of(key)
          if reset == 0 then reset = WINDOW end
        end
      end
      if rpd >= 0 then
        local count = get_packed('d:' .. name)
        if rpd <= ((count and count[1] >= today) and count[2] or 0) and to_midnight > wait then
          wait, position, limit, window, reset = to_midnight, scope[1], rpd, 2, to_midnight
        end
      end
    end
    if wait < 0 then
      for _, scope in ipairs(scopes) do
        if scope[6] >= 0 and tonumber(get('c:' .. scope[2]) or 0) >= scope[6] then
          wait, position, limit, window, reset = 1000, scope[1], scope[6], 3, 0
          break
        end
      end
    end
    return {0, limit, 0, reset, wait, position, window, tokens_limit, tokens_left, tokens_reset}
  end
  if not known and requests > 0 then
    for _, scope in ipairs(scopes) do
      local name = scope[2]
      if scope[3] >= 0 then add_request(name) end
      if scope[4] >= 0 then
        local count = get_packed('d:' .. name)
        if count and count[1] >= today then count[2] = count[2] + 1 else count = {today, 1} end
        put('d:' .. name, cmsgpack.pack(count))
      end
    end
    if #slots > 0 then
      take_slots(slots, 1)
      keep_hold(id, {slots, {}, {}, 0, 0, 0})
    end
  end
  local reset = 0
  if least >= 0 then reset = window == 2 and to_midnight or WINDOW end
  return {1, limit, max(0, least - requests), reset, 0, position, window, tokens_limit, tokens_left, tokens_reset}
end

-- {'reserve', id, scopes, tokens, budgets, nano-USD, credits}; budget: {position, id, cap, credits, cycle}
-- -> {admitted, tokens limit, left, reset ms} or {0, tokens limit, left, reset ms, limit
--    (1 tokens, 2 money, 3 credits), position, limit's value, used, held, cycle, wait ms}
operate.reserve = function(operation)
  local id, scopes, amount, budgets = operation[2], operation[3], operation[4], operation[5]
  local nusd, credits = operation[6], operation[7]
  local hold = get_packed('x:' .. id)
  if hold and hold[6] ~= 0 then return {1, least_tokens(scopes)} end
  local places = {}
  for _, budget in ipairs(budgets) do
    local balance = balance_of(budget[2], budget[5])
    local cap, allotment = budget[3], budget[4]
    local which
    if allotment >= 0 and balance[4] + balance[5] + max(1, credits) > allotment then
      which = {3, budget[1], allotment, balance[4], balance[5], balance[1], 0}
    elseif cap >= 0 and balance[2] + balance[3] + max(1, nusd) > cap then
      which = {2, budget[1], cap, balance[2], balance[3], balance[1], 0}
    end
    if which then
      local limit, left, reset = least_tokens(scopes)
      return {0, limit, left, reset, unpack(which)}
    end
    places[#places + 1] = {budget[2], balance[1]}
  end
  local full
  for _, scope in ipairs(scopes) do
    local name, tpm = scope[2], scope[5]
    if tpm >= 0 then
      local counted = max(1, min(amount, tpm))
      if tokens_of(name) + counted > tpm then
        local wait = tokens_wait(name, tpm, counted)
        if not full or wait > full[11] then
          full = {0, tpm, max(0, tpm - tokens_of(name)), last_of(prefix .. ':t:' .. name),
            1, scope[1], tpm, tokens_of(name), 0, 0, wait}
        end
      end
    end
  end
  if full then return full end
  hold = hold or {{}, {}, {}, 0, 0, 0}
  for _, scope in ipairs(scopes) do
    local name, tpm = scope[2], scope[5]
    if tpm >= 0 then
      local counted = min(amount, tpm)
      hold[2][#hold[2] + 1] = {name, add_tokens(name, counted), counted}
    end
  end
  hold[3], hold[4], hold[5], hold[6] = places, nusd, credits, 1
  in_balances(hold, nusd, 0, credits, 0)
  keep_hold(id, hold)
  return {1, least_tokens(scopes)}
end

-- {'both', admit, reserve}: the second only where the first says yes -> {its answer, false or that one's}
operate.both = function(operation)
  local admitted = operate.admit(operation[2])
  if admitted[1] == 0 then return {admitted, false} end
  return {admitted, operate.reserve(operation[3])}
end

-- {'settle', id, tokens, nano-USD, credits} -> {found, exceeded}
operate.settle = function(operation)
  local id, amount, nusd, credits = operation[2], operation[3], operation[4], operation[5]
  local hold = get_packed('x:' .. id)
  if not hold then return {0, 0} end
  for _, place in ipairs(hold[2]) do
    if place[3] ~= amount then replace_tokens(place[1], place[2], amount - place[3]) end
  end
  if hold[6] == 2 then
    in_balances(hold, 0, nusd, 0, credits)
  else
    take_slots(hold[1], -1)
    in_balances(hold, -hold[4], nusd, -hold[5], credits)
  end
  drop_hold(id)
  local exceeded = #hold[3] > 0 and (nusd > hold[4] or credits > hold[5])
  return {1, exceeded and 1 or 0}
end

-- {'renew', {ids}}: the exchanges still run. What had lapsed is held again.
operate.renew = function(operation)
  for _, id in ipairs(operation[2]) do
    local hold = get_packed('x:' .. id)
    if hold and hold[6] == 2 then
      hold[6] = 1
      in_balances(hold, hold[4], 0, hold[5], 0)
      take_slots(hold[1], 1)
    end
    if hold then keep_hold(id, hold) end
  end
  return {1}
end

-- {'restore', {{id, slots, {{scope, cycle}}, nano-USD, credits}}}: exchanges that run, after the book
-- was made anew; those that the database showed open are in it already -> ids of those that were not.
operate.restore = function(operation)
  local brought = {}
  for _, entry in ipairs(operation[2]) do
    if not get('x:' .. entry[1]) then
      local hold = {entry[2], {}, entry[3], entry[4], entry[5], #entry[3] > 0 and 1 or 0}
      take_slots(entry[2], 1)
      in_balances(hold, entry[4], 0, entry[5], 0)
      keep_hold(entry[1], hold)
      brought[#brought + 1] = entry[1]
    end
  end
  return brought
end
