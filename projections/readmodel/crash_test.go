package readmodel_test

const (
	childURL  = "CLOSURE_TEST_READMODEL_URL"
	childFile = "CLOSURE_TEST_READMODEL_FILE"
)

func child(string, string) int { return 0 }
