package consumer

import "time"

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
