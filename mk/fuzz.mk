# Fuzzers: fuzz/NAME.c, each a program of libFuzzer's under sanitizers; fuzz/seeds/NAME/ are inputs to
# begin with, fuzz/NAME.dict words worth trying.
#
#   make fuzz                     every fuzzer for 60 s
#   make fuzz TIME=600 FUZZ=json  one of them, longer
#
# build-fuzz/corpus/NAME keeps what was found worth keeping, build-fuzz/findings/ what broke one.
# A finding becomes a unit test, and a seed.

TIME       ?= 60
FUZZERS    := $(patsubst fuzz/%.c,%,$(wildcard fuzz/*.c))
FUZZ       ?= $(FUZZERS)
FUZZ_BUILD := build-fuzz
FUZZ_SAN   := -fsanitize=address,undefined -fno-sanitize-recover=undefined
FUZZ_FLAGS := -std=gnu11 -g -O1 -fno-omit-frame-pointer $(WARN) -I. -MMD -MP $(FUZZ_SAN)
FUZZ_CORE  := $(patsubst %.c,$(FUZZ_BUILD)/%.o,$(wildcard core/*.c))
FUZZ_LIBS  := -lyajl -lexpat -lcrypto

$(FUZZ_BUILD)/%.o: %.c
	@mkdir -p $(@D)
	@echo '  FUZZ  $<'
	@clang $(FUZZ_FLAGS) -fsanitize=fuzzer-no-link -c -o $@ $<

$(FUZZ_BUILD)/core.a: $(FUZZ_CORE)
	@rm -f $@
	@ar rcs $@ $^

$(FUZZERS:%=$(FUZZ_BUILD)/%): $(FUZZ_BUILD)/%: $(FUZZ_BUILD)/fuzz/%.o $(FUZZ_BUILD)/core.a
	@clang $(FUZZ_SAN) -fsanitize=fuzzer -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(FUZZ_LIBS)

# one reads a part of the edge, with nginx's headers; their warnings are nginx's own
NGINX_INCS = $(foreach d,src/core src/event src/os/unix src/http src/http/v2 src/http/modules,-isystem $(NGINX_SRC)/$(d)) -isystem build/nginx
$(FUZZ_BUILD)/fuzz/key_record.o $(FUZZ_BUILD)/ngx_pay_module/keys/ngx_pay_key_parse.o: FUZZ_FLAGS += $(NGINX_INCS) -Wno-unused-parameter -Wno-sign-compare
$(FUZZ_BUILD)/fuzz/key_record.o $(FUZZ_BUILD)/ngx_pay_module/keys/ngx_pay_key_parse.o: | build/nginx.stamp
$(FUZZ_BUILD)/key_record: $(FUZZ_BUILD)/ngx_pay_module/keys/ngx_pay_key_parse.o

# those of the adapter engine read the shipped adapters
FUZZ_CHANNEL := $(patsubst %.c,$(FUZZ_BUILD)/%.o,$(wildcard backends/channel/*.c) backends/io/http.c)
$(patsubst fuzz/%.c,$(FUZZ_BUILD)/%,$(wildcard fuzz/channel_*.c)): FUZZ_LIBS := -lzip -lz $(FUZZ_LIBS)
$(patsubst fuzz/%.c,$(FUZZ_BUILD)/%,$(wildcard fuzz/channel_*.c)): $(FUZZ_BUILD)/channel.a

$(FUZZ_BUILD)/channel.a: $(FUZZ_CHANNEL)
	@rm -f $@
	@ar rcs $@ $^

.PHONY: fuzz fuzzers
fuzzers: $(FUZZERS:%=$(FUZZ_BUILD)/%) ## build the fuzzers

fuzz: install-deps ## fuzz TIME= seconds (60) each; FUZZ=name for one of them
	@$(MAKE) -s --no-print-directory -j$(JOBS) edge fuzzers
	@fuzz/run --seconds $(TIME) --keep $(FUZZ)

-include $(shell find $(FUZZ_BUILD) -name '*.d' 2>/dev/null)
