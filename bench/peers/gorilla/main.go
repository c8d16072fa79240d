// A hub on gorilla/websocket in the shape of its well-known chat example: a goroutine pair and a
// bounded queue per client. Speaks the native frames of storm, fan-out and messages.
package main

import (
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

const queueLength = 256

type client struct {
	socket   *websocket.Conn
	queue    chan *websocket.PreparedMessage
	user     string
	channels []string
}

type channel struct {
	sync.RWMutex
	members map[*client]struct{}
	offset  int
}

type hub struct {
	sync.RWMutex
	users    map[string]*client
	channels map[string]*channel
}

var (
	everybody = hub{users: map[string]*client{}, channels: map[string]*channel{}}
	upgrader  = websocket.Upgrader{
		ReadBufferSize:  1024,
		WriteBufferSize: 1024,
		CheckOrigin:     func(*http.Request) bool { return true },
	}
)

func (h *hub) channel(name string) *channel {
	h.Lock()
	defer h.Unlock()
	found := h.channels[name]
	if found == nil {
		found = &channel{members: map[*client]struct{}{}}
		h.channels[name] = found
	}
	return found
}

func (h *hub) user(id string) *client {
	h.RLock()
	defer h.RUnlock()
	return h.users[id]
}

func (c *channel) next() int {
	c.Lock()
	defer c.Unlock()
	c.offset++
	return c.offset
}

func (c *channel) publish(event *websocket.PreparedMessage) {
	c.RLock()
	defer c.RUnlock()
	for member := range c.members {
		member.send(event)
	}
}

// A client whose queue is full is closed, as in the example.
func (c *client) send(frame *websocket.PreparedMessage) {
	select {
	case c.queue <- frame:
	default:
		c.socket.Close()
	}
}

func (c *client) write(done <-chan struct{}) {
	for {
		select {
		case frame := <-c.queue:
			c.socket.SetWriteDeadline(time.Now().Add(10 * time.Second))
			if c.socket.WritePreparedMessage(frame) != nil {
				c.socket.Close()
				return
			}
		case <-done:
			return
		}
	}
}

func (c *client) handle(frame request) {
	switch frame.Type {
	case "bench.post":
		name := "bench:" + frame.Payload.ChannelName
		target := everybody.channel(name)
		target.publish(prepare(post(name, target.next(), frame.Payload.Data)))
	case "message":
		offset := everybody.channel("user:" + frame.Payload.RecipientID).next()
		if recipient := everybody.user(frame.Payload.RecipientID); recipient != nil {
			recipient.send(prepare(message(c.user, offset, frame.Payload)))
		}
	case "subscribe":
		target := everybody.channel(frame.Payload.Channel)
		target.Lock()
		target.members[c] = struct{}{}
		target.Unlock()
		c.channels = append(c.channels, frame.Payload.Channel)
	}
	c.send(prepare(acknowledgement{Type: "ack", ID: frame.ID}))
}

func (c *client) leave() {
	everybody.Lock()
	if everybody.users[c.user] == c {
		delete(everybody.users, c.user)
	}
	everybody.Unlock()
	for _, name := range c.channels {
		left := everybody.channel(name)
		left.Lock()
		delete(left.members, c)
		left.Unlock()
	}
}

func serve(response http.ResponseWriter, upgrade *http.Request) {
	user, valid := verify(upgrade.URL.Query().Get("token"))
	if !valid {
		response.WriteHeader(http.StatusUnauthorized)
		return
	}
	socket, err := upgrader.Upgrade(response, upgrade, nil)
	if err != nil {
		return
	}
	c := &client{socket: socket, queue: make(chan *websocket.PreparedMessage, queueLength), user: user}
	everybody.Lock()
	everybody.users[user] = c
	everybody.Unlock()
	done := make(chan struct{})
	go c.write(done)
	c.send(prepare(connected(user)))
	for {
		frame, err := read(socket)
		if err != nil {
			break
		}
		c.handle(frame)
	}
	close(done)
	socket.Close()
	c.leave()
}

func main() {
	if _, err := strconv.Atoi(os.Getenv("PORT")); err != nil {
		panic("PORT must be a number")
	}
	http.HandleFunc("/ws", serve)
	panic(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil))
}
