# The project's commands. "make test" is all there is to know.

.PHONY: demo test quick build reproducible sbom bench benchstat growth soak

OUTPUT ?= gateway

demo: ## everything embedded, on loopback
	go run ./cmd/gateway demo

test: ## install what the tests need, then run all of them
	./test/run

quick: ## the Go tests alone, without race detector and real clients
	go test -short ./...

build: ## the program, stripped, as it is released
	CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o $(OUTPUT) ./cmd/gateway

reproducible: ## build the release twice, apart, and compare
	test/reproducible

sbom: ## what the program is made of, as CycloneDX JSON
	go tool -modfile=test/tools/sbom.mod cyclonedx-gomod app -json -std -noserial -main cmd/gateway -output sbom.cdx.json .

bench: ## this gateway beside its peers, against the bars; BENCH takes flags, as BENCH='-only forwarded'
	go run ./bench $(BENCH)

growth: ## what requests cost as things become many; draws docs/performance/*.svg
	go run ./bench/growth $(GROWTH)

LENGTH ?= 1h

soak: ## mixed load on three replicas for LENGTH, while faults come and go
	go test ./test/e2e -run 'TestSoak$$' -v -timeout 24h -soak.length $(LENGTH) -soak.report $(CURDIR)/bench/results/soak.md

# The packages with micro-benchmarks of the steps, and the revision that the working tree is compared with.
STEPS ?= ./internal/...
BASE ?= HEAD

benchstat: ## the micro-benchmarks of the working tree against those of BASE
	test/benchstat $(BASE) $(STEPS)
