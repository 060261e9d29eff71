-- Refuses a JSON body with a field, or a value of an enum, that the contract does not have.
--
-- Envoy's transcoder drops unknown fields (envoyproxy/envoy#46623): a caller's {"limt": 5} would be answered with the
-- default limit. It also accepts more than JSON, such as keys without quotes; what it would understand and this check
-- would not is refused as well. `requests` and `messages` are the contract's (contract.lua).

local INVALID_ARGUMENT = 3
local NOT_FOUND = 5
local MAX_DEPTH = 64  -- a filter of filters; the contract's messages themselves are less deep

local function refuse(text)
  error({refusal = text}, 0)
end

local function skip_space(text, at)
  return text:find("[^ \n\r\t]", at) or #text + 1
end

local function no_json(at)
  refuse("the body is no JSON at byte " .. at)
end

-- Returns the string that begins at a quote, as it is written, and the position behind it.
local function read_string(text, at)
  local from = at + 1
  local mark = from
  while true do
    local found = text:find('["\\%c]', mark)
    if not found or text:find("^%c", found) then no_json(found or #text) end
    if text:sub(found, found) == '"' then return text:sub(from, found - 1), found + 1 end
    mark = found + 2
  end
end

-- Returns the names of a message's fields, in their form of the protos, or of an enum's values.
local function names_of(allowed, pattern)
  local names = {}
  for name in pairs(allowed) do
    if name:find(pattern) then names[#names + 1] = name end
  end
  table.sort(names)
  return table.concat(names, ", ")
end

local read_value

local function read_object(text, at, allowed, path, depth)
  local message = type(allowed) == "string" and messages[allowed]
  if not message then refuse(path .. ": is an object, which this field is not") end
  at = skip_space(text, at + 1)
  if text:sub(at, at) == "}" then return at + 1 end
  while true do
    if text:sub(at, at) ~= '"' then no_json(at) end
    local name
    name, at = read_string(text, at)
    local place = path == "" and name or path .. "." .. name
    local value = message[name]
    if value == nil then
      refuse(place .. ": " .. allowed .. " has no such field; its fields are " .. names_of(message, "^[%l%d_]+$"))
    end
    at = skip_space(text, at)
    if text:sub(at, at) ~= ":" then no_json(at) end
    at = skip_space(text, read_value(text, skip_space(text, at + 1), value, place, depth + 1))
    local mark = text:sub(at, at)
    if mark == "}" then return at + 1 end
    if mark ~= "," then no_json(at) end
    at = skip_space(text, at + 1)
  end
end

local function read_array(text, at, allowed, path, depth)
  at = skip_space(text, at + 1)
  if text:sub(at, at) == "]" then return at + 1 end
  while true do
    at = skip_space(text, read_value(text, at, allowed, path, depth + 1))
    local mark = text:sub(at, at)
    if mark == "]" then return at + 1 end
    if mark ~= "," then no_json(at) end
    at = skip_space(text, at + 1)
  end
end

-- Reads one value and returns the position behind it. The types of numbers, strings and booleans are the transcoder's.
function read_value(text, at, allowed, path, depth)
  if depth > MAX_DEPTH then refuse(path .. ": is nested more than " .. MAX_DEPTH .. " deep") end
  local mark = text:sub(at, at)
  if mark == "{" then return read_object(text, at, allowed, path, depth) end
  if path == "" then refuse("the body has to be a JSON object") end
  if mark == "[" then return read_array(text, at, allowed, path, depth) end
  if mark == '"' then
    local value, behind = read_string(text, at)
    if type(allowed) == "table" and not allowed[value] then
      refuse(path .. ": has no value " .. value .. "; its values are " .. names_of(allowed, ""))
    end
    return behind
  end
  local _, last = text:find("^-?%d[%d.eE+-]*", at)
  for _, word in ipairs({"true", "false", "null"}) do
    if text:sub(at, at + #word - 1) == word then last = at + #word - 1 end
  end
  if not last then no_json(at) end
  return last + 1
end

local function check(text, request)
  local at = skip_space(text, read_value(text, skip_space(text, 1), request, "", 0))
  if at <= #text then no_json(at) end
end

local function answer(handle, status, code, text)
  local quoted = text:gsub('[%c"\\]', "?")
  handle:respond(
    {[":status"] = status, ["content-type"] = "application/json"},
    '{"code":' .. code .. ',"message":"' .. quoted .. '"}'
  )
end

function envoy_on_request(handle)
  local headers = handle:headers()
  if (headers:get("content-type") or ""):find("^application/grpc") then return end
  local path, query = (headers:get(":path") or ""):match("^([^?]*)(.*)$")
  local request = requests[headers:get(":method") .. " " .. path]
  if not request then
    return answer(handle, "404", NOT_FOUND, "the methods are " .. names_of(requests, ""))
  end
  if query ~= "" then
    return answer(handle, "400", INVALID_ARGUMENT, "the path has a query; all fields belong into the body")
  end
  local body = handle:body()
  local text = body and body:length() > 0 and body:getBytes(0, body:length()) or ""
  if not text:find("[^ \n\r\t]") then return end
  local fine, fault = pcall(check, text, request)
  if not fine then
    answer(handle, "400", INVALID_ARGUMENT, type(fault) == "table" and fault.refusal or tostring(fault))
  end
end
