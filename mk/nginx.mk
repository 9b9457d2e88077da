# The edge: ngx_pay as a dynamic module for the distribution's nginx, inside static nginx of several
# versions, and (SAN=1) in one under the sanitizers.
#
#   make build/nginx.stamp              -> build/ngx_http_pay_core_module.so
#   make build/nginx-1.26.3/nginx       -> that, of any version in NGINX_VERSIONS
#   make SAN=1 build-san/nginx.stamp    -> build-san/nginx/nginx
#   make test-nginx NGINX=1.26.3        every test that runs an nginx, with that one
#
# nginx's sources come as Debian's source packages and are kept in build-cache/.

NGINX_SRC    ?= /usr/share/nginx/src
# a version and the suite of Debian that has it; without a suite it is the machine's own
NGINX_VERSIONS := 1.22.1 1.26.3
nginx_suite_1.26.3 := trixie
NGINX        ?= 1.22.1
NGINX_CACHE  := build-cache/nginx-$(NGINX)
EDGE_SOURCES := config $(wildcard ngx_pay_module/*.map ngx_pay_module/*/*.[ch] core/*.[ch])

# one build at a time: configure and make share the folder
build/nginx.stamp: $(EDGE_SOURCES)
	@mkdir -p build/nginx
	@flock build/nginx.lock $(MAKE) --no-print-directory edge-dynamic
	@touch $@

.PHONY: edge-dynamic edge-san edge-static
edge-dynamic:
	@echo '  NGINX module'
	@cd $(NGINX_SRC) && bash -c '. ./conf_flags; ./configure "$${NGX_CONF_FLAGS[@]}" \
	    --with-cc-opt="-g -O2 -fPIC -fno-semantic-interposition -fstack-protector-strong -D_FORTIFY_SOURCE=2" \
	    --add-dynamic-module=$(CURDIR) --builddir=$(CURDIR)/build/nginx' > $(CURDIR)/build/nginx/configure.log \
	    || { tail -20 $(CURDIR)/build/nginx/configure.log; exit 1; }
	@$(MAKE) -s -f $(CURDIR)/build/nginx/Makefile -C $(NGINX_SRC) modules
	@cp -f build/nginx/ngx_http_pay_core_module.so build/.edge.so
	@mv -f build/.edge.so build/ngx_http_pay_core_module.so

build-cache/nginx-%/configure:
	@echo '  FETCH nginx $*'
	@mk/fetch-nginx build-cache/nginx-$* $* $(nginx_suite_$*)

NGINX_STATIC := --prefix=/nonexistent --error-log-path=stderr --with-debug --with-threads \
                --with-http_ssl_module --with-http_v2_module --with-http_realip_module \
                --with-http_stub_status_module --with-http_auth_request_module
# nginx itself reads integers at odd addresses, copies nothing from NULL, and moves pointers into a
# larger header buffer by the difference of both buffers
SAN_FLAGS    := -fsanitize=address,undefined -fno-sanitize=alignment,nonnull-attribute,pointer-overflow \
                -fno-omit-frame-pointer

# configure keeps its own objs/, so each static build has its own copy of the tree's results
build-san/nginx.stamp: mk/nginx.mk $(EDGE_SOURCES) $(NGINX_CACHE)/configure
	@mkdir -p build-san/nginx
	@echo '  NGINX static'
	@cd $(NGINX_CACHE) && ./configure $(NGINX_STATIC) \
	    --with-cc-opt='-O1 -g $(SAN_FLAGS) -DNGX_DEBUG_PALLOC=1' --with-ld-opt='$(SAN_FLAGS)' \
	    --add-module=$(CURDIR) --builddir=$(CURDIR)/build-san/nginx > $(CURDIR)/build-san/nginx/configure.log \
	    || { tail -20 $(CURDIR)/build-san/nginx/configure.log; exit 1; }
	@$(MAKE) -s -f $(CURDIR)/build-san/nginx/Makefile -C $(NGINX_CACHE)
	@touch $@

# the same without sanitizers, of each version; configure writes in the tree, so one at a time there
build/nginx-%/nginx: mk/nginx.mk $(EDGE_SOURCES) build-cache/nginx-%/configure
	@mkdir -p $(@D)
	@echo '  NGINX static $*'
	@cd build-cache/nginx-$* && ./configure $(NGINX_STATIC) --with-cc-opt=-O1 \
	    --add-module=$(CURDIR) --builddir=$(CURDIR)/$(@D) > $(CURDIR)/$(@D)/configure.log \
	    || { tail -20 $(CURDIR)/$(@D)/configure.log; exit 1; }
	@$(MAKE) -s -f $(CURDIR)/$(@D)/Makefile -C build-cache/nginx-$*
	@touch $@

# For the slice of the tests: a source that cannot be had is said, and its tests are skipped with that
# reason; a source that does not compile is an error.
.PHONY: statics test-nginx
statics: $(NGINX_VERSIONS:%=static-%)
static-%:
	@mkdir -p build
	@if [ -e build-cache/nginx-$*/configure ] || $(MAKE) -s --no-print-directory build-cache/nginx-$*/configure \
	    > build/nginx-$*.fetch 2>&1; \
	 then rm -f build/nginx-$*.missing && $(MAKE) -s --no-print-directory build/nginx-$*/nginx; \
	 else rm -rf build/nginx-$*; echo "no source package of nginx $* here (build/nginx-$*.fetch says why)"; \
	    echo "no source package of nginx $* here" > build/nginx-$*.missing; fi

test-nginx: built build/nginx-$(NGINX)/nginx ## every test that runs nginx, with a static one: NGINX=1.26.3
	@PAY_NGINX=$(CURDIR)/build/nginx-$(NGINX)/nginx PAY_NGINX_MODULE= t/run-tests \
	    $(or $(TESTS),$(wildcard t/edge/*.t t/flow/*.t t/fault/*.t) t/docs/metrics.t)
