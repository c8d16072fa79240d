package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"os"
	"strings"
	"time"
)

var secret = []byte(os.Getenv("JWT_SECRET"))

// The user of a valid HS256 token.
func verify(token string) (string, bool) {
	end := strings.LastIndexByte(token, '.')
	if end < 0 {
		return "", false
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(token[:end]))
	given, err := base64.RawURLEncoding.DecodeString(token[end+1:])
	if err != nil || !hmac.Equal(given, mac.Sum(nil)) {
		return "", false
	}
	text, err := base64.RawURLEncoding.DecodeString(token[strings.IndexByte(token, '.')+1 : end])
	var claims struct {
		Sub string
		Exp int64
	}
	if err != nil || json.Unmarshal(text, &claims) != nil || claims.Exp < time.Now().Unix() {
		return "", false
	}
	return claims.Sub, true
}
