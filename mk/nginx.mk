# The edge: ngx_pay as a dynamic module for the distribution's nginx, and (SAN=1) a static nginx
# under the sanitizers.
#
#   make build/nginx.stamp              -> build/ngx_http_pay_core_module.so
#   make SAN=1 build-san/nginx.stamp    -> build-san/nginx/nginx
#
# nginx's sources come as Debian's source package and are kept in build-cache/.

NGINX_SRC    ?= /usr/share/nginx/src
NGINX_CACHE  := build-cache/nginx
EDGE_SOURCES := config $(wildcard ngx_pay_module/* core/*.[ch])

# one build at a time: configure and make share the folder
build/nginx.stamp: $(EDGE_SOURCES)
	@mkdir -p build/nginx
	@flock build/nginx.lock $(MAKE) --no-print-directory edge-dynamic
	@touch $@

.PHONY: edge-dynamic edge-san edge-static
edge-dynamic:
	@echo '  NGINX module'
	@cd $(NGINX_SRC) && bash -c '. ./conf_flags; ./configure "$${NGX_CONF_FLAGS[@]}" \
	    --with-cc-opt="-g -O2 -fPIC -fstack-protector-strong -D_FORTIFY_SOURCE=2" \
	    --add-dynamic-module=$(CURDIR) --builddir=$(CURDIR)/build/nginx' > $(CURDIR)/build/nginx/configure.log \
	    || { tail -20 $(CURDIR)/build/nginx/configure.log; exit 1; }
	@$(MAKE) -s -f $(CURDIR)/build/nginx/Makefile -C $(NGINX_SRC) modules
	@cp -f build/nginx/ngx_http_pay_core_module.so build/.edge.so
	@mv -f build/.edge.so build/ngx_http_pay_core_module.so

$(NGINX_CACHE)/configure:
	mk/fetch-nginx $(NGINX_CACHE)

NGINX_STATIC := --with-debug --with-threads --with-http_ssl_module --with-http_v2_module \
                --with-http_realip_module --with-http_stub_status_module --with-http_auth_request_module
# nginx itself reads integers at odd addresses and copies nothing from NULL
SAN_FLAGS    := -fsanitize=address,undefined -fno-sanitize=alignment,nonnull-attribute -fno-omit-frame-pointer

# configure keeps its own objs/, so each static build has its own copy of the tree's results
build-san/nginx.stamp: mk/nginx.mk $(EDGE_SOURCES) $(NGINX_CACHE)/configure
	@mkdir -p build-san/nginx
	@echo '  NGINX static'
	@cd $(NGINX_CACHE) && ./configure --prefix=/nonexistent $(NGINX_STATIC) \
	    --with-cc-opt='-O1 -g $(SAN_FLAGS) -DNGX_DEBUG_PALLOC=1' --with-ld-opt='$(SAN_FLAGS)' \
	    --add-module=$(CURDIR) --builddir=$(CURDIR)/build-san/nginx > $(CURDIR)/build-san/nginx/configure.log \
	    || { tail -20 $(CURDIR)/build-san/nginx/configure.log; exit 1; }
	@$(MAKE) -s -f $(CURDIR)/build-san/nginx/Makefile -C $(NGINX_CACHE)
	@touch $@

# the same without sanitizers, for a static build of another version: make build/nginx-static.stamp
build/nginx-static.stamp: $(EDGE_SOURCES) $(NGINX_CACHE)/configure
	@mkdir -p build/nginx-static
	@echo '  NGINX static'
	@cd $(NGINX_CACHE) && ./configure --prefix=/nonexistent $(NGINX_STATIC) --with-cc-opt='-O2 -g' \
	    --add-module=$(CURDIR) --builddir=$(CURDIR)/build/nginx-static > $(CURDIR)/build/nginx-static/configure.log \
	    || { tail -20 $(CURDIR)/build/nginx-static/configure.log; exit 1; }
	@$(MAKE) -s -f $(CURDIR)/build/nginx-static/Makefile -C $(NGINX_CACHE)
	@touch $@
