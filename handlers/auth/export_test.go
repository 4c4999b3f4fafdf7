package auth

// ParseClientsFile reads a clients file.
func ParseClientsFile(data []byte) ([]Client, error) {
	all, err := parseClientsFile(data)
	var out []Client
	for _, e := range all {
		out = append(out, e.copy())
	}
	return out, err
}
