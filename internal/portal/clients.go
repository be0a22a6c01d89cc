package portal

import (
	"fmt"
	"strings"
)

// snippet is text to paste.
type snippet struct {
	ID    string // names it in the page
	Title string
	Text  string
}

// client is one kind of tool and how it is pointed at the gateway.
type client struct {
	Name     string
	Steps    string // a sentence before what to paste
	Snippets []snippet
	Download string // a file to fetch, "" for none
	Page     *pageLink
}

// pageLink is a page of the portal to go on with.
type pageLink struct{ Path, Text string }

// CLIProfile is the file that points the Supabase CLI at the gateway under publicURL.
func CLIProfile(publicURL string) string {
	url := strings.TrimSuffix(publicURL, "/")
	return fmt.Sprintf("name: gateway\napi_url: %s\ndashboard_url: %s\nproject_host: supabase.co\n", url, url)
}

// profileFile hands that file out, to everybody: it holds nothing but the address it came from.
func (p *Portal) profileFile(v *visit) error {
	h := v.w.Header()
	h.Set("Content-Type", "application/yaml; charset=utf-8")
	h.Set("Content-Disposition", `attachment; filename="profile.yaml"`)
	h.Set("Cache-Control", "no-cache")
	return v.write(200, []byte(CLIProfile(p.publicURL)))
}

// clients are the tools people use, with this gateway's address filled in.
func (p *Portal) clients() []client {
	return []client{p.supabaseCLI(), p.mcpServer(), p.terraform(), p.curl(), p.javaScript()}
}

func (p *Portal) supabaseCLI() client {
	return client{
		Name: "Supabase CLI", Download: "/-/profile.yaml",
		Steps: "A profile file tells the CLI where the gateway is. Then supabase login leaves a token of yours in the CLI. Version 3.1 shows a link to supabase.com, whatever the profile says: give it to the page below instead of opening it.",
		Page:  &pageLink{cliLinkPath, "Sign in the CLI with the link it shows"},
		Snippets: []snippet{
			{"cli-login", "Once on each machine", fmt.Sprintf(`mkdir -p ~/.supabase
curl -fsS %s/-/profile.yaml -o ~/.supabase/gateway.yaml
export SUPABASE_PROFILE=~/.supabase/gateway.yaml   # also in your shell's start-up file
supabase login`, p.publicURL)},
			{"cli-try", "Then, as ever", "supabase projects list"},
		},
	}
}

func (p *Portal) mcpServer() client {
	return client{
		Name: "MCP server", Steps: "In your editor's or agent's MCP configuration, with a token of your own; one that is limited to a project fits best.",
		Snippets: []snippet{{"mcp-json", "Configuration", fmt.Sprintf(`{
  "mcpServers": {
    "supabase": {
      "command": "npx",
      "args": ["-y", "@supabase/mcp-server-supabase", "--api-url", "%s"],
      "env": {"SUPABASE_ACCESS_TOKEN": "YOUR_TOKEN"}
    }
  }
}`, p.publicURL)}},
	}
}

func (p *Portal) terraform() client {
	return client{
		Name: "Terraform", Steps: "The provider takes the address as endpoint, and the token from SUPABASE_ACCESS_TOKEN.",
		Snippets: []snippet{{"terraform-hcl", "Provider", fmt.Sprintf(`provider "supabase" {
  endpoint = "%s"
}`, p.publicURL)}},
	}
}

func (p *Portal) curl() client {
	return client{
		Name: "curl", Steps: "The paths are those of the Supabase Management API.",
		Snippets: []snippet{
			{"curl-projects", "The projects you may see", fmt.Sprintf(`curl -H "Authorization: Bearer $SUPABASE_ACCESS_TOKEN" %s/v1/projects`, p.publicURL)},
			{"curl-whoami", "Who you are here", fmt.Sprintf(`curl -H "Authorization: Bearer $SUPABASE_ACCESS_TOKEN" %s/-/api/whoami`, p.publicURL)},
		},
	}
}

func (p *Portal) javaScript() client {
	return client{
		Name: "JavaScript", Steps: "The base URL has no slash at its end.",
		Snippets: []snippet{{"javascript-client", "supabase-management-js", fmt.Sprintf(`import { SupabaseManagementAPI } from 'supabase-management-js'

const supabase = new SupabaseManagementAPI({
  accessToken: process.env.SUPABASE_ACCESS_TOKEN,
  baseUrl: '%s',
})`, p.publicURL)}},
	}
}
