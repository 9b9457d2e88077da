# What takes too long for `make test`: the same tests, more of it.
SOAK         ?= 1000
SOAK_SECONDS ?= 300

.PHONY: soak soak-reload
soak: built ## SOAK=1000 random reloads and kills under load: no place of a cap leaks
	@PAY_BUILD=$(BUILD) PAY_SOAK=$(SOAK) t/run-tests t/edge/out_leak.t

soak-reload: built ## ten reloads, an upgrade, all workers replaced in SOAK_SECONDS=300 of load: nothing fails
	@PAY_BUILD=$(BUILD) PAY_SOAK_SECONDS=$(SOAK_SECONDS) t/run-tests t/fault/reload.t
