# The fault campaigns of t/fault, longer than in `make test`.

ROUNDS ?= 100
PASSES ?= 10

.PHONY: soak-faults
soak-faults: built ## ROUNDS=100 times every process killed, PASSES=10 deaths at each step, under load; nothing lost, nothing twice
	@PAY_BUILD=$(BUILD) PAY_ROUNDS=$(ROUNDS) PAY_PASSES=$(PASSES) JOBS=1 t/run-tests t/fault/kill.t t/fault/points.t
