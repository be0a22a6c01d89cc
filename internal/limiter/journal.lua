-- Puts what one replica tells some groups of one owner into the order in which all replicas read it, dates it by Redis's
-- own clock, and returns what the replica has not read yet. Nothing is decided here: every replica computes the same
-- decisions from the same entries.
--
-- KEYS[1] the owner's memory: "id" and "born" tell whether Redis has lost it; KEYS[2] when each replica was last here;
-- KEYS[3] scopes by when they were last used; then for each group its head and its log.
-- ARGV[1] the time in microseconds, "" for Redis's; ARGV[2] the replica, where it shows itself; ARGV[3] an id for a memory
-- that is made now; then for each group: its scope, the epoch the replica knows, how many entries it has read, how many of
-- them the state covers, the state, the entry, and how many milliseconds the group must live on (0: as long as it does).
local now = ARGV[1]
if now == '' then
  local t = redis.call('TIME')
  now = string.format('%.0f', t[1] * 1000000 + t[2])
end
local memory = redis.call('HMGET', KEYS[1], 'id', 'born')
if not memory[1] then
  memory = {ARGV[3], now}
  redis.call('HSET', KEYS[1], 'id', ARGV[3], 'born', now)
end
local alive = {}
if ARGV[2] ~= '' then
  redis.call('HSET', KEYS[2], ARGV[2], now)
  alive = redis.call('HGETALL', KEYS[2])
  for i = 1, #alive, 2 do
    if now - alive[i + 1] > 3600000000 then redis.call('HDEL', KEYS[2], alive[i]) end -- it ended an hour ago
  end
end
local groups = {}
local a = 4
for k = 4, #KEYS, 2 do
  local head, log = KEYS[k], KEYS[k + 1]
  local scope, known, read, covers, state, entry, live = unpack(ARGV, a, a + 6)
  read, covers, live = tonumber(read), tonumber(covers), tonumber(live)
  a = a + 7
  local h = redis.call('HMGET', head, 'epoch', 'first', 'at')
  local epoch, first, at = h[1], tonumber(h[2]), tonumber(h[3])
  local group
  if epoch and string.sub(epoch, 1, #memory[1]) ~= memory[1] then
    epoch = false -- of a memory that was given up
  end
  if not epoch and known ~= '' then
    group = {''} -- lost, or at rest for long: the replica that knew it says what it knew
  else
    if not epoch then
      redis.call('DEL', head, log)
      epoch, first, at = memory[1] .. '@' .. now, 0, 0
      redis.call('HSET', head, 'epoch', epoch, 'first', 0, 'at', 0, 'state', state)
    elseif known == epoch and covers > at then
      redis.call('LTRIM', log, covers - 1 - first, -1) -- the last entry covered stays: who has read it can compare
      first, at = covers - 1, covers
      redis.call('HSET', head, 'first', first, 'at', at, 'state', state)
    end
    local length
    if entry ~= '' then
      length = redis.call('RPUSH', log, now .. ' ' .. entry)
    else
      length = redis.call('LLEN', log)
    end
    if live > 0 then
      redis.call('PEXPIRE', head, live)
      redis.call('PEXPIRE', log, live + 60000) -- never before its head
      redis.call('ZADD', KEYS[3], now, scope)
      redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now - 86400000000) -- at rest for a day
    end
    if known == epoch and read >= at and read <= first + length then
      local from = math.max(read - 1, first)
      group = {epoch, from, false, redis.call('LRANGE', log, from - first, -1)}
    else
      group = {epoch, at, redis.call('HGET', head, 'state'), redis.call('LRANGE', log, at - first, -1)}
    end
  end
  groups[#groups + 1] = group
end
return {now, memory[1], memory[2], alive, groups}
