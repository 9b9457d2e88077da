/*
 * The scripts in Redis.  One call has the keys of one hash tag: first the nonce
 * (only the merchant's tag has one), then the limits.  All are checked before
 * anything is written.  ngx_pay_limit.c counts in the same way.
 *
 * ARGV: the nonce's life in ms, or 0 when there is none; then of each limit its
 * step (us per request, GCRA; negative: a sliding window of so many us) and its
 * room (us a burst may run ahead; requests per window).
 *
 * Numbers are formatted with %d: Redis writes a number that it is given with
 * %.17g, which takes many times as long.  What will be written is kept in ARGV,
 * in the place of a limit's step and room; a table of its own would cost more.
 *
 * The answer is one integer, which costs the client least: code (0 pass, 1
 * replay, 2 over a limit) + 2^2 * seconds + 2^22 * index of the limit meant +
 * 2^27 * remaining.
 */

#include "ngx_http_pay_guard.h"

#include "ngx_pay_module/cap/ngx_http_pay_lease.h"


static const char  ngx_http_pay_guard_ask[] =
    "local call, format = redis.call, string.format\n"
    "local first = ARGV[1] == '0' and 1 or 2\n"
    "local seconds, which, left = 0, 0, 2097151\n"
    "if #KEYS >= first then\n"
    "  local t = call('TIME')\n"
    "  local now = t[1] * 1000000 + t[2]\n"
    "  for i = first, #KEYS do\n"
    "    local n = i - first\n"
    "    local step, room = ARGV[2 * n + 2] + 0, ARGV[2 * n + 3] + 0\n"
    "    local was = call('GET', KEYS[i])\n"
    "    local over, wait, more, text, life\n"
    "    if step > 0 then\n"
    "      local ahead = (tonumber(was) or now) - now\n"
    "      if ahead < 0 or ahead > step + room then ahead = 0 end\n"
    "      over = ahead > room\n"
    "      wait = ahead - room\n"
    "      if not over then\n"
    "        ahead = ahead + step\n"
    "        wait = ahead\n"
    "        more = ahead <= room and math.floor((room - ahead) / step) + 1 or 0\n"
    "        text = format('%d', now + ahead)\n"
    "        life = ahead / 1000 + 2\n"
    "      end\n"
    "    else\n"
    "      local w = -step\n"
    "      local from = now % w\n"
    "      local at, cur, prev = (now - from) / w, 0, 0\n"
    "      if was then\n"
    "        local a, c, p = string.match(was, '(%d+) (%d+) (%d+)')\n"
    "        if tonumber(a) == at then cur, prev = tonumber(c), tonumber(p)\n"
    "        elseif tonumber(a) == at - 1 then prev = tonumber(c) end\n"
    "      end\n"
    "      local used = prev * (w - from) / w + cur\n"
    "      over = used + 1 > room\n"
    "      if not over then\n"
    "        wait = w - from\n"
    "        more = math.floor(room - used - 1)\n"
    "        text = format('%d %d %d', at, cur + 1, prev)\n"
    "        life = (2 * w - from) / 1000 + 1\n"
    "      elseif cur >= room then\n"
    "        wait = w - from + w * (cur - room + 1) / cur\n"
    "      else\n"
    "        wait = w * (prev - (room - 1 - cur)) / prev - from\n"
    "      end\n"
    "    end\n"
    "    wait = math.min(math.ceil(wait / 1000000), 1048575)\n"
    "    if over then return 2 + 4 * wait + 4194304 * n end\n"
    "    ARGV[2 * n + 2], ARGV[2 * n + 3] = text, format('%d', life)\n"
    "    if more < left then seconds, which, left = wait, n, more end\n"
    "  end\n"
    "end\n"
    "if first == 2 and\n"
    "   not call('SET', KEYS[1], '', 'NX', 'PX', ARGV[1]) then\n"
    "  return 1\n"
    "end\n"
    "for i = first, #KEYS do\n"
    "  local n = 2 * (i - first)\n"
    "  call('SET', KEYS[i], ARGV[n + 2], 'PX', ARGV[n + 3])\n"
    "end\n"
    "return 4 * seconds + 4194304 * which + 134217728 * left\n";


/* the same keys and arguments: takes back what a call that passed has written */

static const char  ngx_http_pay_guard_undo[] =
    "local first = ARGV[1] == '0' and 1 or 2\n"
    "local t = redis.call('TIME')\n"
    "local now = t[1] * 1000000 + t[2]\n"
    "if first == 2 then redis.call('DEL', KEYS[1]) end\n"
    "for i = first, #KEYS do\n"
    "  local step = tonumber(ARGV[2 * (i - first) + 2])\n"
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


const char *const  ngx_http_pay_guard_scripts[NGX_PAY_REDIS_SCRIPTS] = {
    ngx_http_pay_guard_ask,
    ngx_http_pay_guard_undo,
    ngx_http_pay_lease_script
};
