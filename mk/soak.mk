# What takes too long for `make test`: the same tests, more of it. SEED is sim.mk's.
FAULTS       ?= 1000
ORDERS       ?= 100000
ONLY         ?=
RELOADS      ?= 1000
SOAK_SECONDS ?= 300
BACKLOG      ?= 1000000
SCALE        ?= 4

.PHONY: soak soak-places soak-reload soak-backlog overload
soak: built ## SEED=1 FAULTS=1000 ORDERS=100000 every fault we can make, under load; a table (ONLY='lost' some of them)
	@PAY_BUILD=$(BUILD) SEED=$(SEED) FAULTS=$(FAULTS) ORDERS=$(ORDERS) ONLY='$(ONLY)' t/fault/soak

soak-places: built ## RELOADS=1000 random reloads and kills of nginx: no place of a cap leaks
	@PAY_BUILD=$(BUILD) PAY_SOAK=$(RELOADS) t/run-tests t/edge/out_leak.t

soak-reload: built ## ten reloads, an upgrade, all workers replaced in SOAK_SECONDS=300 of load: nothing fails
	@PAY_BUILD=$(BUILD) PAY_SOAK_SECONDS=$(SOAK_SECONDS) t/run-tests t/fault/reload.t

soak-backlog: built ## BACKLOG=1000000 overdue timers worked off, new orders asked for in between
	@PAY_BUILD=$(BUILD) PAY_BACKLOG=$(BACKLOG) t/run-tests t/flow/timers.t

overload: MINUTES := $(if $(filter command line environment,$(origin MINUTES)),$(MINUTES),5)
overload: built ## MINUTES=5 of five times what a slow bank can take: what is accepted completes, the rest is told to come back
	@PAY_BUILD=$(BUILD) PAY_MINUTES=$(MINUTES) PAY_SCALE=$(SCALE) t/run-tests t/fault/overload.t
