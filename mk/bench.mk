# What the benchmarks run beside the programs themselves.
BENCH_TOOLS := $(addprefix $(BUILD)/bench/,load upstream primitives route channel)

$(BUILD)/bench/%: $(BUILD)/bench/%.o $(LIBS)
	@echo '  LINK  $@'
	@$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(LIBS) -Wl,--end-group $(BACKEND_LIBS) -lssl

$(BUILD)/bench/load: $(BUILD)/bench/load_pay.o

bench-tools: $(BENCH_TOOLS)
.PHONY: bench-tools
all: bench-tools
