package cache

import "github.com/redis/go-redis/v9"

// The keys. They share one hash tag, so that a script may touch them together: in a Cluster the cache is kept by one of
// its shards.
const (
	keyGenerations = "gateway:{cache}:generations" // hash: counter -> generation, and "born"
	keyReplicas    = "gateway:{cache}:replicas"    // sorted set: replica -> when its registration ends, µs
	keyEntry       = "gateway:{cache}:entry:"      // hash: g generations, t stored at (µs), f fresh until (µs), d record
	keyVary        = "gateway:{cache}:vary:"       // the names that select among the entries of one key
	keyLease       = "gateway:{cache}:lease:"      // hash: o owner, g generations, w somebody waits
)

// prelude is what the scripts share. Times are Redis's own, so that no replica's clock counts. Everything's generation is
// the time it was made or last raised: a Redis that lost its memory never repeats one, so that what was read before does
// not hold after it.
const prelude = `
local generations = KEYS[1]
local function now()
	local t = redis.call('TIME')
	return tonumber(t[1]) * 1000000 + tonumber(t[2])
end
local function text(n) return string.format('%.0f', n) end
local function begin()
	if redis.call('HEXISTS', generations, '0') == 0 then
		local t = text(now())
		redis.call('HSET', generations, '0', t, 'born', t)
	end
end
local function current(indexes)
	local list, out = {}, {}
	for index in string.gmatch(indexes, '%d+') do list[#list + 1] = index end
	local values = redis.call('HMGET', generations, unpack(list))
	for i, index in ipairs(list) do out[i] = index .. '=' .. (values[i] or '0') end
	return table.concat(out, ';')
end
local function holds(marked)
	if not marked then return false end
	local indexes = string.gsub(marked, '=%d+', '')
	return current(indexes) == marked
end
local function release(lease, owner, channel, message)
	local held = redis.call('HMGET', lease, 'o', 'w')
	if held[1] ~= owner then return end
	redis.call('DEL', lease)
	if held[2] then redis.call('PUBLISH', channel, message) end
end
`

// lookScript finds an entry, or else takes the lease to fetch it, or says that another replica has it. A lease from before
// a write is no reason to wait.
//
// KEYS generations, vary, entry, lease. ARGV selecting names, indexes, owner, lease in ms ("0": none wanted).
// Reply: word, the entry's generations, age in µs, record, and with lead the generations of the indexes. The word is vary
// (then the second is the names), fresh, lead, wait or none; but for fresh the entry, if there is one, is stale.
var lookScript = redis.NewScript(prelude + `
begin()
local names = redis.call('GET', KEYS[2]) or ''
if names ~= ARGV[1] then return {'vary', names, '0', '', ''} end
local time = now()
local marked, age, record = '', '0', ''
local entry = redis.call('HMGET', KEYS[3], 'g', 't', 'f', 'd')
if holds(entry[1]) then
	marked, age, record = entry[1], text(time - tonumber(entry[2])), entry[4]
	if time < tonumber(entry[3]) then return {'fresh', marked, age, record, ''} end
end
if ARGV[4] == '0' then return {'none', marked, age, record, ''} end
local held = redis.call('HMGET', KEYS[4], 'o', 'g')
if held[1] and held[1] ~= ARGV[3] and holds(held[2]) then
	redis.call('HSET', KEYS[4], 'w', '1')
	return {'wait', marked, age, record, ''}
end
local begun = current(ARGV[2])
redis.call('DEL', KEYS[4])
redis.call('HSET', KEYS[4], 'o', ARGV[3], 'g', begun)
redis.call('PEXPIRE', KEYS[4], ARGV[4])
return {'lead', marked, age, record, begun}`)

// markScript notes the generations anew for a fetch that is about to be sent, and takes its lease along.
//
// KEYS generations, lease. ARGV indexes, owner, lease in ms. Reply: generations.
var markScript = redis.NewScript(prelude + `
begin()
local marked = current(ARGV[1])
if redis.call('HGET', KEYS[2], 'o') == ARGV[2] then
	redis.call('HSET', KEYS[2], 'g', marked)
	redis.call('PEXPIRE', KEYS[2], ARGV[3])
end
return marked`)

// extendScript keeps a lease alive. KEYS generations, lease. ARGV owner, lease in ms.
var extendScript = redis.NewScript(prelude + `
if redis.call('HGET', KEYS[2], 'o') == ARGV[1] then redis.call('PEXPIRE', KEYS[2], ARGV[2]) end
return 1`)

// keepScript stores what a fetch brought, unless a write came in between, and ends its lease.
//
// KEYS generations, vary, entry, lease. ARGV generations, names, record, fresh for µs, kept for ms, owner, channel,
// message. Reply: 1 where it was stored.
var keepScript = redis.NewScript(prelude + `
local stored = 0
if holds(ARGV[1]) then
	local time = now()
	redis.call('DEL', KEYS[3])
	redis.call('HSET', KEYS[3], 'g', ARGV[1], 't', text(time), 'f', text(time + tonumber(ARGV[4])), 'd', ARGV[3])
	redis.call('PEXPIRE', KEYS[3], ARGV[5])
	if ARGV[2] == '' then redis.call('DEL', KEYS[2]) else redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[5]) end
	stored = 1
end
release(KEYS[4], ARGV[6], ARGV[7], ARGV[8])
return stored`)

// releaseScript ends a lease whose fetch brought nothing to store. KEYS generations, lease. ARGV owner, channel, message.
var releaseScript = redis.NewScript(prelude + `
release(KEYS[2], ARGV[1], ARGV[2], ARGV[3])
return 1`)

// raiseScript raises counters and tells the replicas so.
//
// KEYS generations, replicas. ARGV indexes, channel, message. Reply: µs since the generations were made, then the
// registered replicas.
var raiseScript = redis.NewScript(prelude + `
begin()
local time = now()
for index in string.gmatch(ARGV[1], '%d+') do
	if index == '0' then
		redis.call('HSET', generations, '0', text(math.max(time, tonumber(redis.call('HGET', generations, '0')) + 1)))
	else
		redis.call('HINCRBY', generations, index, 1)
	end
end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', text(time))
local reply = redis.call('ZRANGE', KEYS[2], 0, -1)
redis.call('PUBLISH', ARGV[2], ARGV[3])
table.insert(reply, 1, text(time - tonumber(redis.call('HGET', generations, 'born'))))
return reply`)

// registerScript says that a replica trusts its memory. KEYS generations, replicas. ARGV replica, for µs.
var registerScript = redis.NewScript(prelude + `
begin()
redis.call('ZADD', KEYS[2], text(now() + tonumber(ARGV[2])), ARGV[1])
return 1`)

// sweepScript removes the entries that no longer hold and returns how many. KEYS generations, then entries.
var sweepScript = redis.NewScript(prelude + `
local removed = 0
for i = 2, #KEYS do
	if not holds(redis.call('HGET', KEYS[i], 'g')) then removed = removed + redis.call('UNLINK', KEYS[i]) end
end
return removed`)
