-- Whether an org's book is to be believed, and how it is made anew: the end of the script that
-- begins with admission.lua.

local function flush()
  local fields = {}
  for field in pairs(changed) do
    fields[#fields + 1] = field
    fields[#fields + 1] = read[field]
  end
  for start = 1, #fields, 2000 do
    call('HSET', book, unpack(fields, start, min(start + 1999, #fields)))
  end
  if #fields > 0 then
    call('PEXPIRE', book, IDLE)
    call('PEXPIRE', leases, IDLE)
  end
end

-- Whether the book is to be believed, by which rebuild it was made, and whether its balances are, too:
-- where nobody had a budget, only for callers that know of none that is newer.
local known = call('HMGET', book, 'run', 'token', 'metered', 'free')
local whole = known[1] == run and known[2]
local booked = whole and (known[3] or (known[4] and tonumber(known[4]) >= tonumber(ARGV[5])))
local first = operations[1]

local function ids_held()
  local ids = {}
  for _, field in ipairs(call('HKEYS', book)) do
    if string.sub(field, 1, 2) == 'x:' then ids[#ids + 1] = string.sub(field, 3) end
  end
  return ids
end

-- {'lock', token, ms} -> 1: rebuild it, 0: somebody does or did; ids of what it holds
if first[1] == 'lock' then
  if booked and not overdue() then return cmsgpack.pack({known[2], {{0, {}}}}) end
  if not call('SET', lock, first[2], 'NX', 'PX', first[3]) then return cmsgpack.pack({false, {{0, {}}}}) end
  -- Nothing of it may change between the read and the build.
  call('HDEL', book, 'token')
  return cmsgpack.pack({false, {{1, known[1] == run and ids_held() or {}}}})
end

if first[1] == 'unlock' then  -- {'unlock', token}: it could not be rebuilt
  if call('GET', lock) == first[2] then call('DEL', lock) end
  return cmsgpack.pack({false, {1}})
end

if first[1] == 'forget' then  -- {'forget'}: to be read again, also by who reads it now
  call('DEL', book, leases, lock)
  return cmsgpack.pack({false, {1}})
end

-- {'free', version}: nobody in the org had a budget then. Only a later read knows what it spent since.
-- {'recount'}: the database has charged what this book was not told of.
if first[1] == 'free' or first[1] == 'recount' then
  if first[1] == 'recount' or not (whole and known[3] and tonumber(known[3]) >= first[2]) then
    call('HDEL', book, 'metered')
    call('DEL', lock)
  end
  return cmsgpack.pack({false, {1}})
end

-- {'restore', ...}: what the book lacks may have ended before it was read. So it is read again, and asked
-- for what was brought; what is settled meanwhile is in what is read.
if first[1] == 'restore' then
  if known[1] ~= run then return cmsgpack.pack({false, {}}) end
  local brought = operate.restore(first)
  if #brought > 0 then
    call('HDEL', book, 'token')
    call('DEL', lock)
  end
  flush()
  return cmsgpack.pack({false, {brought}})
end

-- {'build', token, days {{scope, day, requests}}, spent {{scope, cycle, nano-USD, credits}}, holds
--  {{id, slots, places, nano-USD, credits}}, 'metered' or 'free', version before the read,
--  ids that 'lock' told and whose exchange has ended}
-- -> 1: built, 0: the lock was lost meanwhile. Of this run's book all but the balances is kept.
if first[1] == 'build' then
  if call('GET', lock) ~= first[2] then return cmsgpack.pack({false, {0}}) end
  call('DEL', lock)
  if known[1] ~= run then call('DEL', book, leases) end
  call('HDEL', book, 'metered', 'free')
  for _, field in ipairs(call('HKEYS', book)) do
    if string.sub(field, 1, 2) == 'b:' then call('HDEL', book, field) end
  end
  for _, day in ipairs(first[3]) do
    local count = get_packed('d:' .. day[1])
    if not count or count[1] < day[2] or (count[1] == day[2] and count[2] < day[3]) then
      put('d:' .. day[1], cmsgpack.pack({day[2], day[3]}))
    end
  end
  for _, spent in ipairs(first[4]) do
    local balance = balance_of(spent[1], spent[2])
    if balance[1] == spent[2] then
      balance[2], balance[4] = balance[2] + spent[3], balance[4] + spent[4]
      put('b:' .. spent[1], cmsgpack.pack(balance))
    end
  end
  local ended, open, still = {}, {}, {}
  for _, id in ipairs(first[8]) do ended[id] = true end
  for _, entry in ipairs(first[5]) do open[entry[1]] = true end
  for _, id in ipairs(ids_held()) do
    local hold = get_packed('x:' .. id)
    local overdue_ms = now - tonumber(call('ZSCORE', leases, id) or 0)
    if open[id] then
      still[#still + 1] = id
    elseif ended[id] and not (hold[6] == 2 and overdue_ms >= 0) then
      -- What it cost is in the balances: its settlement, which is on its way, must not charge it again.
      hold[3], hold[4], hold[5] = {}, 0, 0
      lapse(id, hold)
    elseif overdue_ms >= 0 then
      if hold[6] == 1 then lapse(id, hold) else
        if hold[6] == 0 then take_slots(hold[1], -1) end
        drop_hold(id)
      end
    end
    if hold[6] == 1 then in_balances(hold, hold[4], 0, hold[5], 0) end
  end
  operate.renew({'renew', still})
  call('ZREMRANGEBYSCORE', leases, '-inf', int(now))
  operate.restore({'restore', first[5]})
  put('run', run)
  put('token', first[2])
  put(first[6], int(first[7]))
  flush()
  return cmsgpack.pack({first[2], {1}})
end

local believed, admits = whole, false
for _, operation in ipairs(operations) do
  local asked = operation[1] == 'both' and operation[3] or operation
  if asked[1] == 'reserve' and #asked[5] > 0 then believed = believed and booked end
  admits = admits or asked[1] == 'reserve' or asked[1] == 'admit'
end
believed = believed and not (admits and overdue())
if not believed then return cmsgpack.pack({false, {}}) end

local answers = {}
for i, operation in ipairs(operations) do answers[i] = operate[operation[1]](operation) end
flush()
return cmsgpack.pack({known[2], answers})
