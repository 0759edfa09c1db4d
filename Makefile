# Weir. `make help` lists the targets.
#
#   make                 release build with debug info into build/
#   make run             dependencies, build, and a gateway with two data planes
#   make test            dependencies, build, and every test
#
#   make B=DIR ...       another build folder      make SAN=address,undefined ...   sanitizers
#   make V=1 ...         show the commands         make CC=clang WERROR=1 ...

SAN     ?=
WERROR  ?=
V       ?=
OPT     ?= -O2
# weir-dp is optimised as one piece: a fourteenth fewer instructions. The objects hold code, too,
# so that nothing else pays for it.
LTO     ?= $(if $(SAN)$(findstring clang,$(CC)),,-flto -ffat-lto-objects)
B       ?= build$(if $(SAN),/san-$(subst $(comma),-,$(SAN)))
PREFIX  ?= /usr/local
DESTDIR ?=
comma   := ,
Q       := $(if $(V),,@)
PYTHON  ?= /usr/bin/python3

.DEFAULT_GOAL := all
MAKEFLAGS += --no-print-directory

# ---- flags ----------------------------------------------------------------

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
	-Wcast-qual -Wwrite-strings -Wformat=2 -Wundef -Wvla -Wimplicit-fallthrough \
	-Wno-missing-field-initializers -Wno-format-nonliteral
CPPFLAGS += -D_GNU_SOURCE -I. -I$(B)/gen
CFLAGS   += -std=gnu11 $(OPT) $(LTO) -g -fno-omit-frame-pointer -fno-common -fstack-protector-strong \
	-pthread $(WARN) $(if $(WERROR),-Werror) \
	$(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all,-D_FORTIFY_SOURCE=2)
LDFLAGS  += -pthread $(if $(LTO),-fno-lto) $(if $(SAN),-fsanitize=$(SAN))

# ---- rooms: sources, what they may link -----------------------------------

src = $(filter-out %/main.c,$(wildcard $(foreach d,$(1),$(d)/*.c)))

SRC_common       := $(call src,common common/entities common/plugins)
SRC_proto        := $(call src,proto)
SRC_controlplane := $(call src,controlplane controlplane/store)
SRC_admin-api    := $(call src,admin-api)
SRC_cli          := $(call src,admin-api/cli)
SRC_dataplane    := $(call src,dataplane $(patsubst %/,%,$(wildcard dataplane/*/)))
ROOMS := common proto controlplane admin-api cli dataplane

LIBS_common := -ljansson -lyaml -lpcre2-8 -lcrypto -lm
LIBS_proto  := -lnng -lprotobuf-c -lssl -lcrypto
LIBS_cp     := $(LIBS_common) $(LIBS_proto) -lsqlite3 -lmicrohttpd
LIBS_dp     := $(LIBS_common) $(LIBS_proto) -levent_core -levent_extra -levent_pthreads -lnghttp2 -lssl -lcrypto
LIBS_cli    := $(LIBS_common) -lssl -lcrypto -lcurl

GEN := $(B)/gen/proto/control.pb-c.c
OBJ_GEN := $(B)/obj/gen/control.pb-c.o
$(foreach r,$(ROOMS),$(eval OBJ_$(r) := $(SRC_$(r):%.c=$(B)/obj/%.o)))
lib = $(B)/lib/$(1).a

CP_LIBS  := $(call lib,admin-api) $(call lib,controlplane) $(call lib,proto) $(call lib,common)
DP_LIBS  := $(call lib,dataplane) $(call lib,proto) $(call lib,common)
CLI_LIBS := $(call lib,cli) $(call lib,common)

PROGRAMS := $(B)/weir-cp $(B)/weir-dp $(B)/weirctl

all: $(PROGRAMS) ## build/weir-cp, build/weir-dp, build/weirctl

$(B)/weir-cp: $(B)/obj/controlplane/main.o $(CP_LIBS)
	@echo "  LD   $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS_cp)

$(B)/weir-dp: $(B)/obj/dataplane/main.o $(DP_LIBS)
	@echo "  LD   $@"
	$(Q)$(CC) $(LDFLAGS) $(if $(LTO),$(CFLAGS) -flto=auto) -o $@ $^ $(LIBS_dp)

$(B)/weirctl: $(B)/obj/admin-api/cli/main.o $(CLI_LIBS)
	@echo "  LD   $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS_cli)

# An archive is made anew when one of its objects changes, comes or goes: the list is a file.
define room_rule
$(B)/lib/$(1).list: FORCE
	@mkdir -p $$(@D); echo $(OBJ_$(1)) | cmp -s - $$@ || echo $(OBJ_$(1)) > $$@

$(call lib,$(1)): $(OBJ_$(1)) $(if $(filter proto,$(1)),$(OBJ_GEN)) $(B)/lib/$(1).list
	@rm -f $$@
	$(Q)$(AR) rcs $$@ $$(filter %.o,$$^)
endef
FORCE:
$(foreach r,$(ROOMS),$(eval $(call room_rule,$(r))))

$(B)/obj/%.o: %.c | $(GEN)
	@mkdir -p $(@D); echo "  CC   $<"
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

$(OBJ_GEN): $(GEN)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -w -c $< -o $@

$(GEN): proto/control.proto
	@mkdir -p $(B)/gen; echo "  GEN  $<"
	$(Q)protoc-c --c_out=$(B)/gen proto/control.proto

# ---- tests ----------------------------------------------------------------
# tests/unit/ROOM/test_x.c is one cmocka program, linked with what its room may use.

UNIT_SRC := $(wildcard tests/unit/*/test_*.c)
UNIT     := $(UNIT_SRC:tests/unit/%.c=$(B)/unit/%)
unit_libs_common       := $(call lib,common)
unit_libs_proto        := $(call lib,proto) $(call lib,common)
unit_libs_controlplane := $(call lib,controlplane) $(call lib,proto) $(call lib,common)
unit_libs_admin-api    := $(CP_LIBS)
unit_libs_dataplane    := $(DP_LIBS)
unit_link_common       := $(LIBS_common)
unit_link_proto        := $(LIBS_common) $(LIBS_proto)
unit_link_controlplane := $(LIBS_cp)
unit_link_admin-api    := $(LIBS_cp)
unit_link_dataplane    := $(LIBS_dp)

define unit_rule
$(B)/unit/$(1)/%: tests/unit/$(1)/%.c $(unit_libs_$(1)) | $(GEN)
	@mkdir -p $$(@D); echo "  TEST $$<"
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -Wno-missing-prototypes $(LDFLAGS) -MMD -MP -o $$@ $$< \
		$(unit_libs_$(1)) $(unit_link_$(1)) -lcmocka
endef
$(foreach r,common proto controlplane admin-api dataplane,$(eval $(call unit_rule,$(r))))

units: $(UNIT)

check-unit: $(UNIT) ## the C unit tests
	$(Q)$(SAN_ENV) tests/tools/run-unit.sh $(sort $(UNIT))

# A file of tests shares its daemons, so files go to processes as a whole.
# What one worker does by itself: left out under ThreadSanitizer.
UNTHREADED := rfc9112 http1 h2 http2_up limits

check-blackbox: all ## the real programs over real sockets; K=WORD chooses tests
	$(Q)$(SAN_ENV) WEIR_BUILD=$(B) $(PYTHON) -m pytest -q --tb=short --no-header -p no:cacheprovider tests/blackbox \
		$(if $(K),-k '$(K)',-n $(CORES) --dist loadfile $(if $(filter thread,$(SAN)),$(UNTHREADED:%=--ignore=tests/blackbox/test_%.py)))

check: check-unit check-blackbox ## both, in this flavour

$(B)/bench/count_calls.so: tests/bench/count_calls.c
	@mkdir -p $(@D); echo "  LD   $@"
	$(Q)$(CC) -D_GNU_SOURCE -std=gnu11 -O2 -g $(WARN) -fPIC -shared -o $@ $<

check-counts: all $(B)/bench/count_calls.so ## system calls, allocations and locks of a small request
	$(Q)WEIR_BUILD=$(B) $(PYTHON) tests/bench/count_calls.py

# One place for what the sanitizers are told. halt_on_error makes a report a failure.
SAN_ENV := $(if $(SAN),ASAN_OPTIONS=detect_leaks=1:abort_on_error=0 \
	UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 \
	TSAN_OPTIONS=halt_on_error=0:exitcode=66:suppressions=$(CURDIR)/tests/tsan.supp)

asan: ## every test under AddressSanitizer and UndefinedBehaviorSanitizer
	$(Q)$(MAKE) SAN=address,undefined OPT=-O1 check

tsan: ## every test under ThreadSanitizer
	$(Q)$(MAKE) SAN=thread OPT=-O1 check

deps: ## the Debian packages, when one is missing
	$(Q)deploy/install-deps.sh

CORES := $(shell nproc)
JOBS  := -j$(CORES)

test: deps ## everything: layers, headers, tests in three flavours, fuzzing for a bounded time
	$(Q)$(MAKE) layers headers
	$(Q)$(MAKE) $(JOBS) all units
	$(Q)$(MAKE) check check-counts
	$(Q)$(MAKE) $(JOBS) SAN=address,undefined OPT=-O1 all units
	$(Q)$(MAKE) asan
	$(Q)$(MAKE) $(JOBS) SAN=thread OPT=-O1 all units
	$(Q)$(MAKE) tsan
	$(Q)$(MAKE) $(JOBS) fuzz FUZZ_SECONDS=5

run: deps ## a control plane, two data planes and an echo upstream, until Ctrl-C
	$(Q)$(MAKE) $(JOBS) all
	$(Q)deploy/run.sh

# ---- fuzzing --------------------------------------------------------------
# tests/fuzz/fuzz_x.c is a libFuzzer target; its seeds are in tests/fuzz/corpus/x. Words to
# try: tests/fuzz/x.dict, for all targets x and x_y.

FUZZ_SRC     := $(wildcard tests/fuzz/fuzz_*.c)
FUZZ         := $(FUZZ_SRC:tests/fuzz/%.c=build/fuzz/%)
FUZZ_SECONDS ?= 10
FUZZ_FLAGS   := -fsanitize=fuzzer-no-link,address,undefined

fuzz: ## every fuzz target for FUZZ_SECONDS; -j for several at once
	$(Q)$(MAKE) CC=clang B=build/fuzz SAN=fuzzer-no-link,address,undefined OPT=-O1 $(FUZZ)
	$(Q)$(MAKE) $(FUZZ:build/fuzz/fuzz_%=fuzz-run-%)
	@echo "fuzz: $(words $(FUZZ)) targets, $(FUZZ_SECONDS) s each, nothing found"

fuzz-run-%:
	$(Q)mkdir -p build/fuzz/found/$* tests/fuzz/corpus/$*
	$(Q)build/fuzz/fuzz_$* $(patsubst %,-dict=%,$(wildcard tests/fuzz/$(firstword $(subst _, ,$*)).dict)) \
		-max_total_time=$(FUZZ_SECONDS) -max_len=65536 -timeout=10 -rss_limit_mb=2048 \
		-artifact_prefix=build/fuzz/found/ build/fuzz/found/$* tests/fuzz/corpus/$* \
		>build/fuzz/$*.log 2>&1 || { tail -n 60 build/fuzz/$*.log; exit 1; }
	$(Q)echo "  FUZZ $*: $$(grep -a '^Done' build/fuzz/$*.log)"

# A second reading of what a target checks, written for it, is linked too.
build/fuzz/fuzz_http1_reference: tests/fuzz/reference_http1.c tests/fuzz/reference_http1.h
build/fuzz/fuzz_%: tests/fuzz/fuzz_%.c $(DP_LIBS)
	@mkdir -p $(@D); echo "  LD   $@"
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -Wno-missing-prototypes -fsanitize=fuzzer,address,undefined \
		-o $@ $(filter %.c,$^) $(DP_LIBS) $(LIBS_dp)

# ---- benchmarks: they print figures and judge nothing (check-counts does) --

BENCH_SRC := $(wildcard tests/bench/bench_*.c)
BENCH     := $(BENCH_SRC:tests/bench/%.c=$(B)/bench/%)

bench: all $(BENCH) ## prints figures: store, router, change latency
	$(Q)set -e; for b in $(BENCH); do echo "== $${b##*/}"; $$b; done
	$(Q)WEIR_BUILD=$(B) $(PYTHON) tests/bench/change_latency.py
	$(Q)$(MAKE) check-counts

$(B)/bench/%: tests/bench/%.c $(call lib,controlplane) $(DP_LIBS)
	@mkdir -p $(@D); echo "  LD   $@"
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -Wno-missing-prototypes $(LDFLAGS) -MMD -MP -o $@ $< \
		$(call lib,controlplane) $(DP_LIBS) $(LIBS_dp) -lsqlite3

# ---- keeping the house ----------------------------------------------------

SOURCES := $(foreach r,$(ROOMS),$(SRC_$(r))) $(wildcard controlplane/main.c dataplane/main.c admin-api/cli/main.c)
HEADERS := $(shell find common proto controlplane admin-api dataplane -name '*.h' 2>/dev/null)

layers: ## proves that includes follow the arrows between the rooms
	$(Q)tests/tools/layers.sh

headers: $(GEN) ## every header compiles alone
	$(Q)set -e; for h in $(HEADERS); do \
		$(CC) $(CPPFLAGS) -std=gnu11 -Wall -Wextra -fsyntax-only -x c $$h \
		-Wno-unused-function -Wno-pragma-once-outside-header; done
	@echo "headers: $(words $(HEADERS)) compile alone"

format: ## clang-format over all sources
	$(Q)clang-format -i $(SOURCES) $(HEADERS)

lint: $(GEN) ## clang-tidy and warnings as errors with both compilers
	$(Q)$(MAKE) B=build/lint-gcc WERROR=1 all
	$(Q)$(MAKE) B=build/lint-clang CC=clang WERROR=1 all
	$(Q)printf '%s\n' $(SOURCES) | xargs -P $(shell nproc) -I{} clang-tidy --quiet {} -- $(CPPFLAGS) -std=gnu11

docs: all ## the pages that are printed from the tables
	$(Q)$(B)/weirctl reference --proto > $(B)/entities.proto && cp $(B)/entities.proto proto/
	$(Q)$(B)/weirctl reference > $(B)/REFERENCE.md && cp $(B)/REFERENCE.md common/

new-plugin: ## NAME=my-plugin [PRIORITY=n]: contract, behaviour, test and list line of a new plugin
	$(Q)tests/tools/new-plugin.sh "$(NAME)" $(PRIORITY)

conformance: all ## CASES=DIR RUNNER=conform.py: the recorded cases against a fresh gateway
	$(Q)WEIR_BUILD=$(B) $(PYTHON) tests/tools/conformance.py $(ARGS)

install: all ## into $(DESTDIR)$(PREFIX)
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/doc/weir $(DESTDIR)$(PREFIX)/lib/systemd/system
	install -m 755 $(PROGRAMS) $(DESTDIR)$(PREFIX)/bin
	install -m 644 README.md LICENSE $(DESTDIR)$(PREFIX)/share/doc/weir
	set -e; for u in $(notdir $(wildcard deploy/systemd/*.service)); do \
		sed 's,/usr/local,$(PREFIX),' deploy/systemd/$$u >$(B)/$$u; \
		install -m 644 $(B)/$$u $(DESTDIR)$(PREFIX)/lib/systemd/system; done

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | sort | expand -t 20

clean: ## removes build/
	rm -rf build

.PHONY: FORCE all asan bench check check-blackbox check-counts check-unit clean conformance deps docs format fuzz \
	headers help install layers lint new-plugin run test tsan units
.SECONDARY:
-include $(shell find $(B) -name '*.d' 2>/dev/null)
