# The migration that is generated: the moves of a payment. Once it was applied anywhere, a changed
# table of moves becomes a new migration of its own: make sql MOVES=sql/0025_payment_moves.sql

MOVES ?= sql/0024_payment_moves.sql

.PHONY: sql
sql: $(BUILD)/sql/gen_moves ## write the payment's moves to sql/
	@$< > $(MOVES).new && mv $(MOVES).new $(MOVES)

$(BUILD)/sql/gen_moves: $(BUILD)/sql/gen_moves.o $(BUILD)/backends/store/moves_sql.o \
                        $(BUILD)/backends/domain.a $(BUILD)/core.a
	@echo '  LINK  $@'
	@$(CC) $(LDFLAGS) -o $@ $^ $(CORE_LIBS)
