package schemas

import (
	"encoding/json"
	"os"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// published is as much of a JSON Schema as the tests compare.
type published struct {
	Ref        string               `json:"$ref"`
	ID         string               `json:"$id"`
	Required   []string             `json:"required"`
	Enum       []any                `json:"enum"`
	Properties map[string]propertyT `json:"properties"`
	AllOf      []struct {
		If, Then published
	} `json:"allOf"`
	Defs  map[string]published `json:"$defs"`
	Const any                  `json:"const"`
}

// propertyT is a schema, or false for a property that must not be there.
type propertyT struct {
	published
	forbidden bool
}

func (p *propertyT) UnmarshalJSON(data []byte) error {
	if string(data) == "false" {
		p.forbidden = true
		return nil
	}
	return json.Unmarshal(data, &p.published)
}

func readSchema(t *testing.T, file string) published {
	t.Helper()
	text, err := SchemaFS.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var schema published
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	return schema
}

// jsonTags lists the JSON fields of a struct, and those of them that are always written.
func jsonTags(v any) (all, always []string) {
	for field := range reflect.TypeOf(v).Fields() {
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		all = append(all, name)
		if options != "omitempty" {
			always = append(always, name)
		}
	}
	return sorted(all), sorted(always)
}

func sorted(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return list
}

// wireMoney is the JSON form of an amount, which Money writes by hand.
type wireMoney struct {
	AmountMicros string   `json:"amountMicros"`
	CurrencyCode Currency `json:"currencyCode"`
}

func TestStructsHaveTheSchemasFields(t *testing.T) {
	command, event, notice := readSchema(t, CommandSchemaFile), readSchema(t, EventSchemaFile), readSchema(t, NoticeSchemaFile)
	for _, row := range []struct {
		name   string
		schema published
		value  any
	}{
		{"command", command, Command{}}, {"payment of a command", command.Defs["payment"], Payment{}},
		{"money of a command", command.Defs["money"], wireMoney{}},
		{"event", event, Event{}}, {"payment of an event", event.Defs["payment"], Payment{}},
		{"money of an event", event.Defs["money"], wireMoney{}},
		{"providerResult of an event", event.Defs["providerResult"], ProviderResult{}},
		{"reversal of an event", event.Defs["reversal"], Reversal{}}, {"problem", event.Defs["problem"], Problem{}},
		{"existing", event.Defs["existing"], Existing{}}, {"operator", event.Defs["operator"], Operator{}},
		{"notice", notice, Notice{}}, {"result", notice.Defs["result"], NoticeResult{}},
		{"reversal of a notice", notice.Defs["reversal"], NoticeReversal{}},
		{"money of a notice", notice.Defs["money"], wireMoney{}},
		{"providerResult of a notice", notice.Defs["providerResult"], ProviderResult{}},
	} {
		all, always := jsonTags(row.value)
		var properties []string
		for name := range row.schema.Properties {
			properties = append(properties, name)
		}
		if got := sorted(properties); !slices.Equal(got, all) {
			t.Errorf("%s: the schema has %v, Go has %v", row.name, got, all)
		}
		if got := sorted(row.schema.Required); !slices.Equal(got, always) {
			t.Errorf("%s: the schema requires %v, Go always writes %v", row.name, got, always)
		}
	}
}

func texts[T ~string](list []T) []string {
	var out []string
	for _, v := range list {
		out = append(out, string(v))
	}
	return out
}

func enumTexts(list []any) []string {
	var out []string
	for _, v := range list {
		out = append(out, v.(string))
	}
	return out
}

func TestKindTableIsTheSchemas(t *testing.T) {
	schema := readSchema(t, EventSchemaFile)
	if schema.ID != EventDataSchema {
		t.Errorf("the schema's id is %s, want %s", schema.ID, EventDataSchema)
	}
	if got := enumTexts(schema.Properties["kind"].Enum); !slices.Equal(got, texts(Kinds)) {
		t.Errorf("kinds: the schema has %v, Go has %v", got, Kinds)
	}
	if got := enumTexts(schema.Properties["foundBy"].Enum); !slices.Equal(got, texts(foundBys)) {
		t.Errorf("foundBy: the schema has %v, Go has %v", got, foundBys)
	}
	if len(schema.AllOf) != len(Kinds) || len(kindRules) != len(Kinds) {
		t.Fatalf("got %d rules in the schema and %d in Go, want %d", len(schema.AllOf), len(kindRules), len(Kinds))
	}
	for i, k := range Kinds {
		branch, rule := schema.AllOf[i], kindRules[k]
		if branch.If.Properties["kind"].Const != string(k) {
			t.Fatalf("branch %d is not about %s", i, k)
		}
		if !slices.Equal(sorted(branch.Then.Required), sorted(rule.must)) {
			t.Errorf("%s: the schema requires %v, Go %v", k, branch.Then.Required, rule.must)
		}
		if got := enumTexts(branch.Then.Properties["reason"].Enum); !slices.Equal(got, texts(ReasonsOf(k))) {
			t.Errorf("%s: the schema's reasons are %v, Go's %v", k, got, ReasonsOf(k))
		}
		var forbidden, foreign []string
		for name, property := range branch.Then.Properties {
			if property.forbidden {
				forbidden = append(forbidden, name)
			}
		}
		for _, name := range kindFields {
			if !slices.Contains(rule.must, name) && !slices.Contains(rule.may, name) {
				foreign = append(foreign, name)
			}
		}
		if !slices.Equal(sorted(forbidden), foreign) {
			t.Errorf("%s: the schema forbids %v, Go %v", k, sorted(forbidden), foreign)
		}
	}
	all, _ := jsonTags(Event{})
	if got := sorted(slices.Concat(kindFields, []string{"kind", "provider", "occurredAt"})); !slices.Equal(got, all) {
		t.Errorf("the kind table covers %v, an event has %v", got, all)
	}
}

func TestNoticeListsAreTheSchemas(t *testing.T) {
	schema := readSchema(t, NoticeSchemaFile)
	result := schema.Defs["result"]
	if got := enumTexts(result.Properties["reason"].Enum); !slices.Equal(got, texts(ReasonsOf(KindFailed))) {
		t.Errorf("reasons: the schema has %v, Go has %v", got, ReasonsOf(KindFailed))
	}
	if got := enumTexts(result.Properties["kind"].Enum); !slices.Equal(got, texts(outcomes)) {
		t.Errorf("kinds: the schema has %v, Go has %v", got, outcomes)
	}
	if got := enumTexts(schema.Properties["type"].Enum); !slices.Equal(got, texts(noticeTypes)) {
		t.Errorf("types: the schema has %v, Go has %v", got, noticeTypes)
	}
}

var (
	streams = []string{StreamCommands, StreamRetries, StreamEvents, StreamNotices, StreamDead, StreamJournal}
	headers = []string{HeaderMsgID, HeaderTraceParent, HeaderTraceState, HeaderBaggage, HeaderContentType, HeaderSpecVersion,
		HeaderEventID, HeaderEventType, HeaderSource, HeaderSubject, HeaderTime, HeaderDataSchema, HeaderPrevious, HeaderOwner,
		HeaderHold, HeaderRound, HeaderDeadReason, HeaderDeadDetail, HeaderDeadAt, HeaderKind, HeaderJournal, HeaderRules,
		HeaderVelocity, HeaderCommand}
)

func allSubjects(s Subjects) []string {
	return []string{s.Command("p"), s.Retry("p"), s.Later("p", "r:1"), s.LaterAll("p"), s.LaterNotice("p", "abc"),
		s.LaterNotices("p"), s.RetryNotices("p"), s.Event(KindFailed, "p"), s.Events(), s.Notices("p"), s.Dead("p"), s.DeadAll(),
		s.Journal("r:1"), s.JournalRefunds(), s.JournalAbout("p"), s.JournalProviders(), s.JournalAll()}
}

// TestFrozenNames holds the names that other programs are built against. A line may be added; none may
// ever change.
func TestFrozenNames(t *testing.T) {
	var got []string
	add := func(what string, names ...string) {
		for _, name := range names {
			got = append(got, what+" "+name)
		}
	}
	add("stream", streams...)
	add("header", headers...)
	add("subject", allSubjects(Subjects{})...)
	add("kind", texts(Kinds)...)
	for _, k := range Kinds {
		add("reason of "+string(k), texts(ReasonsOf(k))...)
	}
	add("foundBy", texts(foundBys)...)
	add("refundType", string(RefundTypeRefund), string(RefundTypeCancel))
	add("notice type", texts(noticeTypes)...)
	add("data schema", EventDataSchema)
	want, err := os.ReadFile("testdata/frozen.golden")
	if err != nil {
		t.Fatal(err)
	}
	if text := strings.Join(got, "\n") + "\n"; text != string(want) {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
}

func TestSubjects(t *testing.T) {
	for _, subject := range allSubjects(Subjects{Prefix: "eu.refunds"}) {
		if !strings.HasPrefix(subject, "eu.refunds.") {
			t.Errorf("%s does not have the prefix", subject)
		}
	}
	for subject, want := range map[string]ProviderName{"refunds.commands.bbmsl-hk": "bbmsl-hk", "refunds.commands.": "",
		"refunds.commands.a.b": "", "refunds.commands.*": "", "refunds.retry.a": "", "eu.refunds.commands.a": ""} {
		got, ok := Subjects{}.CommandProvider(subject)
		if ok != (want != "") || ok && got != want {
			t.Errorf("%s: got %q, %v; want %q", subject, got, ok, want)
		}
	}
}

// TestAsyncAPI holds that the document names every stream, subject, kind and header, that its
// references lead somewhere, and that it keeps to plain YAML: spaces, and no colon in a bare text.
func TestAsyncAPI(t *testing.T) {
	text, err := os.ReadFile("asyncapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	document := string(text)
	names := slices.Concat(streams, headers, texts(Kinds), []string{EventDataSchema})
	s := Subjects{}
	for _, address := range []string{s.Command("{provider}"), s.Retry("{provider}"), s.Later("{provider}", "{requestId}"),
		s.RetryNotices("{provider}"), s.Event("{kind}", "{provider}"), s.Notices("{provider}"), s.Dead("{provider}"),
		s.Journal("{requestId}"), s.JournalAbout("{provider}"),
		path.Dir(strings.ReplaceAll(s.LaterNotices("{provider}"), ".*", "/*")) + ".{hash}"} {
		names = append(names, `address: "`+address+`"`)
	}
	for _, name := range names {
		if !strings.Contains(document, name) {
			t.Errorf("the document does not name %s", name)
		}
	}
	places := yamlPaths(t, document)
	for _, m := range regexp.MustCompile(`\$ref: "([^"]*)"`).FindAllStringSubmatch(document, -1) {
		if _, err := SchemaFS.Open(m[1]); err != nil && !places[m[1]] {
			t.Errorf("reference %s leads nowhere", m[1])
		}
	}
}

// yamlPaths are the JSON pointers of a YAML document's keys, as far as it keeps to plain YAML.
func yamlPaths(t *testing.T, document string) map[string]bool {
	line := regexp.MustCompile(`^( *)(?:- )?(?:([$A-Za-z][-$A-Za-z]*):(?: (.*))?|(.*))$`)
	type level struct {
		indent int
		path   string
	}
	stack := []level{{-1, "#"}}
	places := map[string]bool{}
	for i, row := range strings.Split(document, "\n") {
		m := line.FindStringSubmatch(row)
		if strings.Contains(row, "\t") || m == nil {
			t.Fatalf("line %d is not plain YAML: %s", i+1, row)
		}
		value := m[3] + m[4]
		if !strings.HasPrefix(value, `"`) && (strings.Contains(value, ": ") || strings.Contains(value, " #")) {
			t.Errorf("line %d: a bare text must not hold a colon or a hash: %s", i+1, row)
		}
		if m[2] == "" {
			continue
		}
		for stack[len(stack)-1].indent >= len(m[1]) {
			stack = stack[:len(stack)-1]
		}
		stack = append(stack, level{len(m[1]), stack[len(stack)-1].path + "/" + m[2]})
		places[stack[len(stack)-1].path] = true
	}
	return places
}
