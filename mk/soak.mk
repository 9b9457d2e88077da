# What takes too long for `make test`: the same tests, more of it.
SOAK ?= 1000

.PHONY: soak
soak: built ## SOAK=1000 random reloads and kills under load: no place of a cap leaks
	@PAY_BUILD=$(BUILD) PAY_SOAK=$(SOAK) t/run-tests t/edge/out_leak.t
