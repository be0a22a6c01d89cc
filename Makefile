# The project's commands. "make test" is all there is to know.

.PHONY: demo test quick build

demo: ## everything embedded, on loopback
	go run ./cmd/gateway demo

test: ## install what the tests need, then run all of them
	./test/run

quick: ## the Go tests alone, without race detector and real clients
	go test -short ./...

build: ## the program, stripped, as it is released
	CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o gateway ./cmd/gateway
