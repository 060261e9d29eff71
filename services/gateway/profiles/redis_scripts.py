"""The scripts that change profiles in Redis, each as a whole or not at all.

The keys, after the prefix::

    :user:<user>:<kind>  sorted set of the user's events of one kind by time: arrival, event id, event
    :ids:<two digits>    sets of the ids of all events, by their first byte
    :oldest              sorted set of the users, by the time of their oldest event or earlier
    :arrival             how many events were ever recorded
    :document:<name>     hash of a document's version and content
    :key                 what shows with which key the pseudonyms were made

User and event ids are pseudonyms. A user's keys are not known before the script runs, so Redis Cluster is out.
"""

from __future__ import annotations

from typing import Final

# ARGV: prefix, then event id, user, kind, time and event for each event. Returns how many were new.
RECORD: Final = """
local recorded = 0
for i = 2, #ARGV, 5 do
  local id, user, kind, at, event = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
  if redis.call('SADD', ARGV[1] .. ':ids:' .. string.format('%02x', string.byte(id)), id) == 1 then
    local arrival = redis.call('INCR', ARGV[1] .. ':arrival')
    local member = struct.pack('>I8', arrival) .. id .. event
    redis.call('ZADD', ARGV[1] .. ':user:' .. user .. ':' .. kind, at, member)
    redis.call('ZADD', ARGV[1] .. ':oldest', 'LT', at, user)
    recorded = recorded + 1
  end
end
return recorded
"""

# ARGV: prefix, user, the time before which events are erased (or +inf), then the kinds. Returns how many were erased.
ERASE: Final = """
local erased, oldest = 0, nil
for i = 4, #ARGV do
  local key = ARGV[1] .. ':user:' .. ARGV[2] .. ':' .. ARGV[i]
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', key, '-inf', '(' .. ARGV[3])) do
    local id = string.sub(member, 9, 24)
    redis.call('SREM', ARGV[1] .. ':ids:' .. string.format('%02x', string.byte(id)), id)
    redis.call('ZREM', key, member)
    erased = erased + 1
  end
  local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
  if first[2] and (oldest == nil or tonumber(first[2]) < tonumber(oldest)) then oldest = first[2] end
end
if oldest == nil then redis.call('ZREM', ARGV[1] .. ':oldest', ARGV[2])
else redis.call('ZADD', ARGV[1] .. ':oldest', oldest, ARGV[2]) end
return erased
"""

# ARGV: the document's key, the version that it must have, its new content. Returns 1 if it was written, else 0.
WRITE_DOCUMENT: Final = """
local version = tonumber(redis.call('HGET', ARGV[1], 'version') or '0')
if version ~= tonumber(ARGV[2]) then return 0 end
redis.call('HSET', ARGV[1], 'version', version + 1, 'content', ARGV[3])
return 1
"""
