/*
 * The scripts in Redis.  One call has the keys of one hash tag: the limits, and
 * then the nonces (only the merchant's tag has some).  It is for one request or
 * for several that have these limits in common: they are judged one after
 * another, and counts are read and written once.  Of a request all is checked
 * before anything counts.  ngx_pay_limit.c counts in the same way.
 *
 * ARGV: a nonce's life in ms, or 0 when there is none; then of each limit its
 * step (us per request, GCRA; negative: a sliding window of so many us) and its
 * room (us a burst may run ahead; requests per window).  The first script gets
 * the number of requests after that.
 *
 * run is what a limit has counted: us ahead, or requests in this window; past
 * are those in the window before.
 *
 * Numbers are formatted with %d: Redis writes a number that it is given with
 * %.17g, which takes many times as long.
 *
 * The answer is one integer for each request, which costs the client least:
 * code (0 pass, 1 replay, 2 over a limit) + 2^2 * seconds + 2^22 * index of the
 * limit meant + 2^27 * remaining.
 */

#include "ngx_http_pay_guard.h"

#include "ngx_pay_module/cap/ngx_http_pay_lease.h"


static const char  ngx_http_pay_guard_ask[] =
    "local call, format = redis.call, string.format\n"
    "local asked, limits = ARGV[#ARGV] + 0, #ARGV / 2 - 1\n"
    "local nonces, life = #KEYS > limits, ARGV[1]\n"
    "local now, run, past, out = 0, {}, {}, {}\n"
    "if limits > 0 then\n"
    "  local t = call('TIME')\n"
    "  now = t[1] * 1000000 + t[2]\n"
    "end\n"
    "for i = 1, limits do\n"
    "  local step, room = ARGV[2 * i] + 0, ARGV[2 * i + 1] + 0\n"
    "  local was = call('GET', KEYS[i])\n"
    "  if step > 0 then\n"
    "    local ahead = (tonumber(was) or now) - now\n"
    "    if ahead < 0 or ahead > step + room then ahead = 0 end\n"
    "    run[i] = ahead\n"
    "  else\n"
    "    local at = (now - now % -step) / -step\n"
    "    run[i], past[i] = 0, 0\n"
    "    if was then\n"
    "      local a, c, p = string.match(was, '(%d+) (%d+) (%d+)')\n"
    "      a = tonumber(a)\n"
    "      if a == at then run[i], past[i] = tonumber(c), tonumber(p)\n"
    "      elseif a == at - 1 then past[i] = tonumber(c) end\n"
    "    end\n"
    "  end\n"
    "  ARGV[2 * i], ARGV[2 * i + 1] = step, room\n"
    "end\n"
    "local function whole(us)\n"
    "  return math.min(math.ceil(us / 1000000), 1048575)\n"
    "end\n"
    "local counted = false\n"
    "for j = 1, asked do\n"
    "  local code = 0\n"
    "  for i = 1, limits do\n"
    "    local step, room, cur, wait = ARGV[2 * i], ARGV[2 * i + 1], run[i]\n"
    "    if step > 0 then\n"
    "      if cur > room then wait = cur - room end\n"
    "    else\n"
    "      local w, prev = -step, past[i]\n"
    "      local from = now % w\n"
    "      if prev * (w - from) / w + cur + 1 > room then\n"
    "        wait = cur >= room and w - from + w * (cur - room + 1) / cur\n"
    "               or w * (prev - (room - 1 - cur)) / prev - from\n"
    "      end\n"
    "    end\n"
    "    if wait then\n"
    "      code = 2 + 4 * whole(wait) + 4194304 * (i - 1)\n"
    "      break\n"
    "    end\n"
    "  end\n"
    "  if code == 0 and nonces and\n"
    "     not call('SET', KEYS[limits + j], '', 'NX', 'PX', life) then\n"
    "    code = 1\n"
    "  end\n"
    "  if code == 0 then\n"
    "    local seconds, which, left = 0, 0, 2097151\n"
    "    for i = 1, limits do\n"
    "      local step, room, wait, more = ARGV[2 * i], ARGV[2 * i + 1]\n"
    "      if step > 0 then\n"
    "        wait = run[i] + step\n"
    "        run[i] = wait\n"
    "        more = wait > room and 0 or math.floor((room - wait) / step) + 1\n"
    "      else\n"
    "        wait = -step - now % -step\n"
    "        run[i] = run[i] + 1\n"
    "        more = math.floor(room - past[i] * wait / -step - run[i])\n"
    "      end\n"
    "      if more < left then\n"
    "        seconds, which, left = whole(wait), i - 1, more\n"
    "      end\n"
    "    end\n"
    "    counted = true\n"
    "    code = 4 * seconds + 4194304 * which + 134217728 * left\n"
    "  end\n"
    "  out[j] = code\n"
    "end\n"
    "for i = 1, counted and limits or 0 do\n"
    "  local step, text, ms = ARGV[2 * i]\n"
    "  if step > 0 then\n"
    "    text, ms = format('%d', now + run[i]), run[i] / 1000 + 2\n"
    "  else\n"
    "    local from = now % -step\n"
    "    text = format('%d %d %d', (now - from) / -step, run[i], past[i])\n"
    "    ms = (-2 * step - from) / 1000 + 1\n"
    "  end\n"
    "  call('SET', KEYS[i], text, 'PX', format('%d', ms))\n"
    "end\n"
    "return asked == 1 and out[1] or out\n";


/* the keys and arguments of one request: takes back what was counted for it */

static const char  ngx_http_pay_guard_undo[] =
    "local limits = (#ARGV - 1) / 2\n"
    "local t = redis.call('TIME')\n"
    "local now = t[1] * 1000000 + t[2]\n"
    "if #KEYS > limits then redis.call('DEL', KEYS[limits + 1]) end\n"
    "for i = 1, limits do\n"
    "  local step = tonumber(ARGV[2 * i])\n"
    "  local was = redis.call('GET', KEYS[i])\n"
    "  if was and step > 0 then\n"
    "    local ahead = tonumber(was) - step - now\n"
    "    if ahead > 0 then\n"
    "      redis.call('SET', KEYS[i], string.format('%.0f', now + ahead),\n"
    "                 'PX', math.ceil(ahead / 1000) + 1)\n"
    "    else\n"
    "      redis.call('DEL', KEYS[i])\n"
    "    end\n"
    "  elseif was then\n"
    "    local a, c, p = string.match(was, '(%d+) (%d+) (%d+)')\n"
    "    local w, cur = -step, tonumber(c)\n"
    "    local life = math.ceil(((tonumber(a) + 2) * w - now) / 1000)\n"
    "    if cur > 0 and life > 0 then\n"
    "      redis.call('SET', KEYS[i], a .. ' ' .. (cur - 1) .. ' ' .. p,\n"
    "                 'PX', life)\n"
    "    end\n"
    "  end\n"
    "end\n"
    "return 0\n";


const ngx_pay_redis_script_t
    ngx_http_pay_guard_scripts[NGX_PAY_REDIS_SCRIPTS] =
{
    { ngx_http_pay_guard_ask, 1 },
    { ngx_http_pay_guard_undo, 0 },
    { ngx_http_pay_lease_script, 0 }
};
