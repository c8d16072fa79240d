package main

import (
	"encoding/json"
	"time"

	"github.com/gorilla/websocket"
)

type request struct {
	Type    string  `json:"type"`
	ID      string  `json:"id"`
	Payload payload `json:"payload"`
}

type payload struct {
	Channel     string `json:"channel"`
	ChannelName string `json:"channel_name"`
	Data        string `json:"data"`
	ID          string `json:"id"`
	MessageType string `json:"message_type"`
	RecipientID string `json:"recipient_id"`
}

type acknowledgement struct {
	Type    string   `json:"type"`
	ID      string   `json:"id"`
	Payload struct{} `json:"payload"`
}

type event struct {
	Type    string `json:"type"`
	Channel string `json:"channel,omitempty"`
	Offset  int    `json:"offset,omitempty"`
	Payload any    `json:"payload"`
}

type metadata struct {
	ID             string  `json:"id"`
	ConversationID string  `json:"conversation_id"`
	SenderID       string  `json:"sender_id"`
	RecipientID    string  `json:"recipient_id"`
	MessageType    string  `json:"message_type"`
	Timestamp      string  `json:"timestamp"`
	SessionID      *string `json:"session_id"`
	IsRead         bool    `json:"is_read"`
}

func read(socket *websocket.Conn) (frame request, err error) {
	_, bytes, err := socket.ReadMessage()
	if err == nil {
		err = json.Unmarshal(bytes, &frame)
	}
	return frame, err
}

// Encoded and framed once, however many receive it.
func prepare(frame any) *websocket.PreparedMessage {
	bytes, _ := json.Marshal(frame)
	prepared, _ := websocket.NewPreparedMessage(websocket.TextMessage, bytes)
	return prepared
}

func connected(user string) event {
	return event{Type: "connected", Payload: map[string]string{"user_id": user}}
}

func post(channel string, offset int, data string) event {
	return event{"post", channel, offset, map[string]string{"data": data}}
}

func message(sender string, offset int, sent payload) event {
	return event{"message", "user:" + sent.RecipientID, offset, metadata{
		ID:             sent.ID,
		ConversationID: sender,
		SenderID:       sender,
		RecipientID:    sent.RecipientID,
		MessageType:    sent.MessageType,
		Timestamp:      time.Now().UTC().Format("2006-01-02T15:04:05.000Z"),
	}}
}
