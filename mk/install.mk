# make install [DESTDIR=...]: programs, the module, documents, and the samples where nothing is there yet.
PREFIX  ?= /usr
CONFDIR ?= /etc/ngx_pay
DOCDIR  := $(DESTDIR)$(PREFIX)/share/doc/ngx_pay

install: all ## programs, module, samples, units; DESTDIR= for a package
	install -d $(DESTDIR)$(PREFIX)/sbin $(DESTDIR)$(PREFIX)/lib/nginx/modules $(DESTDIR)$(PREFIX)/share/ngx_pay/sql \
	    $(DESTDIR)/lib/systemd/system $(DOCDIR)
	install -m 755 $(BUILD)/payd $(BUILD)/payctl $(DESTDIR)$(PREFIX)/sbin/
	install -m 644 $(BUILD)/ngx_http_pay_core_module.so $(DESTDIR)$(PREFIX)/lib/nginx/modules/
	install -m 644 sql/*.sql $(DESTDIR)$(PREFIX)/share/ngx_pay/sql/
	install -m 644 lua-free-conf/systemd/*.service $(DESTDIR)/lib/systemd/system/
	install -m 644 lua-free-conf/systemd/payd@.service $(DESTDIR)/lib/systemd/system/payd-next@.service
	install -m 644 README.md docs/*.md docs/openapi.yaml $(DOCDIR)/
	install -d $(DESTDIR)$(CONFDIR)/channels $(DESTDIR)$(CONFDIR)/channels-available $(DESTDIR)$(CONFDIR)/adapters $(DESTDIR)$(CONFDIR)/run
	install -d -m 700 $(DESTDIR)$(CONFDIR)/secrets
	install -m 644 lua-free-conf/adapters/*.conf $(DESTDIR)$(CONFDIR)/adapters/
	@cd lua-free-conf && for f in nginx.conf payd.conf channels/*.conf channels-available/*.conf; do \
	    test -e $(DESTDIR)$(CONFDIR)/$$f || install -m 640 $$f $(DESTDIR)$(CONFDIR)/$$f; done
	@echo 'installed; README.md tells how to go on'
