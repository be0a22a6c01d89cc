package main

import (
	"math"
	"testing"
)

func TestTheHeapHasAFloorWhereMemoryIsNotScarce(t *testing.T) {
	floor := raise(nil, math.MaxInt64)
	if len(floor) != heapFloor {
		t.Fatalf("a floor of %d bytes without a limit, want %d", len(floor), heapFloor)
	}
	if same := raise(floor, roomy); len(same) == 0 || &same[0] != &floor[0] {
		t.Error("another look made another floor")
	}
	if left := raise(floor, roomy-1); left != nil {
		t.Errorf("a floor of %d bytes though memory is scarce", len(left))
	}
}
