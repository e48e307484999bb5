package simulator_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"

	"refundworker/providers/simulator"
)

func Example() {
	sim := simulator.New(simulator.Options{})
	err := sim.Seed(strings.NewReader(`{"payments":{"bbmsl":[
		{"reference":"4922","amount":{"amountMicros":"15000000","currencyCode":"HKD"},"status":"SETTLED"}]}}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	server := httptest.NewServer(sim)
	defer server.Close()

	// Nobody is let in before a key is known, and nothing has moved.
	body := strings.NewReader(`{"request":"{\"merchantId\":\"700123\",\"orderId\":4922,\"amount\":10}","signature":"AA=="}`)
	answer, err := http.Post(server.URL+"/bbmsl/hosted-checkout/refund", "application/json", body)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer answer.Body.Close()
	if _, err := io.Copy(os.Stdout, answer.Body); err != nil {
		fmt.Println(err)
	}
	fmt.Println("\nmovements:", len(sim.Ledger()))
	// Output:
	// {"responseCode":"SIM102","message":"merchant is not known"}
	// movements: 0
}
