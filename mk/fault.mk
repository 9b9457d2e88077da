# What the fault campaigns of t/fault need beside the programs: a proxy between any two parts, and to be
# preloaded a clock and a network, which are never built under a sanitizer.

FAULT_TOOLS := $(BUILD)/t/fault/proxy $(BUILD)/t/fault/clock.so $(BUILD)/t/fault/net.so

$(BUILD)/t/fault/proxy: $(BUILD)/t/fault/proxy.o $(BUILD)/t/fault/proxy_parts.o
	@echo '  LINK  $@'
	@$(CC) $(LDFLAGS) -o $@ $^

$(BUILD)/t/fault/%.so: t/fault/%.c
	@mkdir -p $(@D)
	@echo '  LINK  $@'
	@$(CC) -std=gnu11 -O2 $(WARN) -fPIC -shared -o $@ $< -ldl

all: $(FAULT_TOOLS)

ROUNDS ?= 100
PASSES ?= 10

.PHONY: soak-faults
soak-faults: built ## ROUNDS=100 times every process killed, PASSES=10 deaths at each step, under load; nothing lost, nothing twice
	@PAY_BUILD=$(BUILD) PAY_ROUNDS=$(ROUNDS) PAY_PASSES=$(PASSES) JOBS=1 t/run-tests t/fault/kill.t t/fault/points.t
