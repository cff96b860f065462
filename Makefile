# Every target sets up what it needs: on a Debian 12 machine with a Rust toolchain, `make run` or `make test` is the first command.
# Set-up runs as root (apt); where everything is there already, it does nothing and any user will do.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build
.PHONY: run up down build test lint fmt bench faults schemathesis clean setup-build setup-lint setup-test setup-bench setup-schemathesis

CARGO ?= cargo
CONFIG ?= conf/config.yaml
DENY_VERSION := 0.20.2
# more rounds of the fault tests than `make test` runs
FAULT_ROUNDS ?= 50
SCHEMATHESIS_VERSION := 4.32.5
# how many requests schemathesis makes up for each operation, beside its fixed ones
EXAMPLES ?= 50

# $(call need,<command> <package> ...): installs the packages whose command is absent, in one go
define need
	@set -- $(1); missing=(); \
	while [ $$# -ge 2 ]; do command -v "$$1" >/dev/null || missing+=("$$2"); shift 2; done; \
	if [ $${#missing[@]} -gt 0 ]; then \
	  echo "installing: $${missing[*]}"; \
	  apt-get update -qq; \
	  DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "$${missing[@]}" >/dev/null; \
	fi
endef

# the module with which nginx speaks anything but HTTP: a package of its own
define nginx-stream
	@[ -e /usr/lib/nginx/modules/ngx_stream_module.so ] || \
	  { apt-get update -qq; DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq libnginx-mod-stream >/dev/null; }
endef

run: setup-build
	$(CARGO) build --release --locked
	exec target/release/sluice run --config $(CONFIG)

# a fleet in containers: needs Docker with its compose plugin
up: .env
	docker compose up --detach --build --wait
	docker compose run --rm demo-objects
	@echo "try: curl http://127.0.0.1:9100; Grafana is at http://127.0.0.1:3000, the keys are in .env"

# ends it; `docker compose down --volumes` also forgets what it stored
down: .env
	docker compose down

# keys of this machine's fleet, made once
.env:
	@umask 077; key() { head -c 24 /dev/urandom | base64 | tr '+/' '-_'; }; \
	admin=$$(key); grafana=$$(key); printf 'ADMIN_KEY=%s\nGRAFANA_PASSWORD=%s\n' "$$admin" "$$grafana" > $@

build: setup-build
	$(CARGO) build --release --locked

test: lint setup-test
	$(CARGO) test --locked

lint: setup-build setup-lint
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --document-private-items
	$(CARGO) test --locked --test t layers
	$(CARGO) deny --locked check bans licenses sources

fmt:
	$(CARGO) fmt

bench: setup-build setup-bench
	$(CARGO) build --release --locked
	$(CARGO) build --release --locked --manifest-path bench/load/Cargo.toml --target-dir bench/target
	bench/run.py --gateway target/release/sluice
	bench/churn.py --gateway target/release/sluice
	bench/slow.py --gateway target/release/sluice
	bench/cluster.py --gateway target/release/sluice
	cp Cargo.lock bench/lookup/Cargo.lock
	$(CARGO) bench --manifest-path bench/lookup/Cargo.toml --target-dir target

faults: setup-build setup-test setup-bench
	SLUICE_FAULT_ROUNDS=$(FAULT_ROUNDS) $(CARGO) test --locked --test t -- durability etcd_faults http::edits slow_http http2_floods --nocapture --test-threads=1
	$(CARGO) build --release --locked
	$(CARGO) build --release --locked --manifest-path bench/load/Cargo.toml --target-dir bench/target
	bench/slow.py --gateway target/release/sluice --connections 4000

# asks a running gateway whatever its own description of the Admin API allows, and what it does not
schemathesis: setup-build setup-schemathesis
	$(CARGO) build --locked
	t/schemathesis.sh target/debug/sluice target/schemathesis/bin $(EXAMPLES)

clean:
	$(CARGO) clean
	rm -rf bench/target bench/results

setup-build:
	$(call need,cc gcc protoc protobuf-compiler)
	@[ -e /usr/include/stdlib.h ] || { apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -y -qq libc6-dev >/dev/null; }

setup-lint:
	@$(CARGO) fmt --version >/dev/null 2>&1 && $(CARGO) clippy --version >/dev/null 2>&1 || rustup component add rustfmt clippy
	@$(CARGO) deny --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-deny --version $(DENY_VERSION)

# the real servers and clients of the end-to-end tests; none of them is started by the system
setup-test:
	$(call need,mariadbd mariadb-server mariadb mariadb-client redis-server redis-server redis-cli redis-tools curl curl \
	  ip iproute2 python3 python3 prometheus prometheus unshare util-linux setpriv util-linux prlimit util-linux mount mount sysctl procps strace strace \
	  etcd etcd-server etcdctl etcd-client openssl openssl nginx nginx haproxy haproxy logger bsdutils \
	  dnsmasq dnsmasq-base dig bind9-dnsutils rsyslogd rsyslog freeradius freeradius radclient freeradius-utils \
	  slapd slapd ldapsearch ldap-utils kdig knot-dnsutils testssl testssl.sh slowhttptest slowhttptest h2load nghttp2-client)
	$(nginx-stream)
	@/usr/bin/python3 -c 'import grpc' 2>/dev/null || { apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-grpcio >/dev/null; }

setup-bench:
	$(call need,nginx nginx haproxy haproxy etcd etcd-server wrk wrk h2load nghttp2-client openssl openssl slowhttptest slowhttptest \
	  python3 python3 ip iproute2 sysctl procps unshare util-linux nsenter util-linux)
	$(nginx-stream)

setup-schemathesis:
	$(call need,python3 python3 curl curl ip iproute2 unshare util-linux)
	@python3 -c 'import ensurepip' 2>/dev/null || { apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null; }
	@[ -x target/schemathesis/bin/schemathesis ] || python3 -m venv target/schemathesis
	@target/schemathesis/bin/pip install --quiet --disable-pip-version-check schemathesis==$(SCHEMATHESIS_VERSION)
