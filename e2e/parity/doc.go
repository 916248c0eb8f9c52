// Parity holds the same conversations with a real Keycloak and with Tegata,
// and shows where they differ. It knows both only by HTTP.
//
//	make parity    record what Keycloak answers, and compare
//	go test        compare Tegata with what was recorded
//
// testdata/conversations.txt is what is asked, testdata/keycloak.txt what a
// real one answered, testdata/differences.txt where Tegata differs, each with
// its reason. A difference that is not listed fails the test, and so does one
// that is listed and gone.
package main
