# The simulator (t/sim/README.md): the real backends/domain with everything around it simulated.
#
#   make sim SEED=7 MINUTES=10    lives of orders; what breaks is printed with how to replay it
#   make mutants                  the planted bugs of t/sim/mutants, each to be found by the simulator
#   make mutate                   every table row and condition of backends/domain, changed one by one

SEED    ?= 1
MINUTES ?= 1

SIM      := $(BUILD)/t/sim/sim
SIM_OBJS := $(patsubst %.c,$(BUILD)/%.o,$(wildcard t/sim/*.c))

$(SIM): $(SIM_OBJS) $(BUILD)/backends/domain.a $(BUILD)/core.a
	@echo '  LINK  $@'
	@$(CC) $(LDFLAGS) -o $@ $^ $(CORE_LIBS)

all: $(SIM)

.PHONY: sim mutants mutate
sim: $(SIM) ## SEED=1 MINUTES=1 lives of orders under faults, by backends/domain
	@$< --seed $(SEED) --minutes $(MINUTES)

mutants: install-deps ## planted bugs: does the simulator find each?
	@nice t/sim/mutate planted

mutate: install-deps ## every row and condition of backends/domain changed: is it found? (goes on where it was ended)
	@nice -n 19 t/sim/mutate all
